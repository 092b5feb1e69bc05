"""Working views: features land where the camera says, light is averaged, outside is masked."""

import numpy as np
import pytest
import torch

from hrnfit.camera import Camera
from hrnfit.io.cameras import load_cameras
from hrnfit.observe.observation import Landmarks, View
from hrnfit.observe.working import (
    common_scheme,
    face_boxes,
    landmark_boxes,
    window_camera,
    working_views,
)

LENS = [-0.12, 0.05, 0.001, -0.0007, 0.0]


def _camera(lens=LENS, size=512, focal=1000.0):
    """A camera of about the data's lens: off-centre, fx and fy unlike, seen from the side."""
    base = Camera.look_at((250, 60, 800), focal=focal, height=size, width=size)
    K = base.K.clone()
    K[1, 1] *= 1.003
    K[:2, 2] += torch.tensor([11.3, -7.7], dtype=K.dtype)
    return Camera.create(K, base.T_cam_world, lens, height=size, width=size, name="cam")


def _dots(generator, count=24):
    """World points on a face-sized surface."""
    xy = 160 * (torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.5)
    return torch.cat([xy, 40 * torch.rand(count, 1, generator=generator, dtype=torch.float64)], -1)


def _dot_image(camera, x_world, sigma=3.0):
    """One Gaussian dot per image, drawn at the projected point, pixel centres at +0.5."""
    grid = torch.arange(camera.width, dtype=torch.float64) + 0.5
    centre = camera.project(x_world)
    gauss = [torch.exp(-((grid - c) ** 2) / (2 * sigma**2)) for c in centre]
    return (gauss[1][:, None] * gauss[0]).float()[..., None].repeat(1, 1, 3)


def _view(camera, image=None, **changes):
    if image is None:
        image = torch.ones(camera.height, camera.width, 3)
    values = {"name": "cam", "image": image, "camera": camera, "camera_known": True, "frame": 0}
    return View(**{**values, **changes})


def _centroid(image):
    weight = image[..., 0].double()
    grid = torch.arange(weight.shape[0], dtype=torch.float64) + 0.5
    total = weight.sum()
    return torch.stack([(weight.sum(0) * grid).sum(), (weight.sum(1) * grid).sum()]) / total


def _project(working, x_world):
    T, K = working.T_cam_world[0].double(), working.K[0].double()
    x = (T[:3, :3] @ x_world + T[:3, 3]) @ K.mT
    return x[:2] / x[2]


@pytest.mark.parametrize("size", [96, 200, 431, 900])
def test_a_point_projects_onto_its_feature(size, generator):
    camera = _camera()
    points = _dots(generator, 6)
    box = face_boxes(camera.pinhole().project(points)[None], margin=0.4)
    for x_world in points:
        working = working_views([_view(camera, _dot_image(camera, x_world))], box, size)
        error = _centroid(working.images[0]) - _project(working, x_world)
        # In photograph pixels as in window pixels: whichever is coarser is below 0.05.
        assert float(error.norm()) < 0.05


def test_the_rigs_own_lenses(data_dir, generator):
    camera = load_cameras(data_dir / "rig_t1_dist" / "cameras.json")[0]
    head = torch.from_numpy(
        np.asarray(np.load(data_dir / "rig_t1" / "ground_truth.npz")["lm68"])
    ).double()
    box = face_boxes(camera.pinhole().project(head)[None])
    for x_world in head[::17]:
        working = working_views([_view(camera, _dot_image(camera, x_world))], box, 512)
        assert float((_centroid(working.images[0]) - _project(working, x_world)).norm()) < 0.05


def test_landmarks_move_with_the_window(generator):
    camera, points = _camera(), _dots(generator, 5)
    marks = Landmarks(camera.project(points).float(), torch.ones(5), "five")
    view = _view(camera, landmarks=marks)
    working = working_views([view], landmark_boxes([view]), 300)
    expected = torch.stack([_project(working, x) for x in points]).float()
    torch.testing.assert_close(working.landmarks[0], expected, atol=1e-3, rtol=0)
    assert working.landmark_scheme == "five"
    assert bool(((working.landmarks > 0) & (working.landmarks < 300)).all())


def test_views_without_landmarks_have_no_confidence():
    camera = _camera([])
    marks = Landmarks(torch.full((5, 2), 9.0), torch.ones(5), "five")
    box = torch.tensor([[0.0, 0, 64, 64]])
    working = working_views([_view(camera), _view(camera, landmarks=marks)], box.repeat(2, 1), 32)
    assert working.landmark_confidence.sum(-1).tolist() == [0, 5]
    working = working_views([_view(camera)], box, 32)
    assert working.landmarks.shape == (1, 0, 2)


@pytest.mark.parametrize("size", [4, 16, 64])
def test_shrinking_averages_linear_light(size, generator):
    # A window that lies on the pixel grid is the plain block mean.
    camera = _camera([], size=64)
    image = torch.rand(64, 64, 3, generator=generator)
    working = working_views([_view(camera, image)], torch.tensor([[0.0, 0, 64, 64]]), size)
    mean = image.view(size, 64 // size, size, 64 // size, 3).mean((1, 3))
    torch.testing.assert_close(working.images[0], mean, atol=1e-5, rtol=0)
    assert bool((working.masks == 1).all())


def test_fine_stripes_do_not_alias():
    camera = _camera([], size=480)
    stripes = torch.zeros(480, 480, 3)
    stripes[:, ::2] = 1.0
    working = working_views([_view(camera, stripes)], torch.tensor([[3.0, 3, 471, 471]]), 50)
    assert float((working.images[0] - 0.5).abs().max()) < 0.06


def test_outside_the_photograph_is_masked():
    camera = _camera([], size=64)
    mask = torch.ones(64, 64)
    mask[:, 32:] = 0
    working = working_views([_view(camera, mask=mask)], torch.tensor([[-32.0, 0, 32, 64]]), 64)
    expected = torch.zeros(64, 64)
    expected[:, 32:] = 1
    torch.testing.assert_close(working.masks[0], expected)


def test_inside_is_the_photograph_whatever_its_colours_and_mask():
    """A window 16 px beyond the left and the lower border; the photograph is black, its mask 0."""
    camera = _camera([], size=64)
    view = _view(camera, torch.zeros(64, 64, 3), mask=torch.zeros(64, 64))
    working = working_views([view], torch.tensor([[-16.0, 16, 48, 80]]), 64)
    expected = torch.zeros(64, 64, dtype=torch.bool)
    expected[:48, 16:] = True
    assert torch.equal(working.inside[0], expected)
    # pixels that the border cuts are not inside: 2.5 px of the window's 20 lie beyond, to the left
    working = working_views([view], torch.tensor([[-8.0, 0, 56, 64]]), 20)
    assert working.inside[0].all(0).tolist() == [False] * 3 + [True] * 17


@pytest.mark.parametrize("size", [40, 128, 700])
def test_inside_follows_the_lens(size):
    """A pixel is inside when the lens takes its corners into the photograph."""
    camera = _camera()
    box = torch.tensor([[-30.0, -30.0, 540.0, 540.0]])
    working = working_views([_view(camera)], box, size)
    edge = torch.arange(size + 1, dtype=torch.float64) * (570.0 / size) - 30.0
    corners = torch.stack(torch.meshgrid(edge, edge, indexing="xy"), -1)
    photo = camera.distort(corners)
    within = ((photo > 0) & (photo < 512)).all(-1)
    whole = within[1:, 1:] & within[:-1, 1:] & within[1:, :-1] & within[:-1, :-1]
    touched = within[1:, 1:] | within[:-1, 1:] | within[1:, :-1] | within[:-1, :-1]
    assert bool((working.inside[0] | ~whole).all())
    # samples stand for their surroundings, so a pixel may be cut by less than half a sample
    wrong = working.inside[0] & ~whole
    assert bool((wrong & ~touched).sum() == 0)
    assert int(wrong.sum()) < 2 * size


def test_beyond_the_lens_model_is_masked():
    # Folds at r = 0.2 focal lengths: 200 px from the principal point.
    camera = _camera([-1 / 0.12, 0.0, 0.0, 0.0])
    working = working_views([_view(camera)], torch.tensor([[0.0, 0, 512, 512]]), 128)
    assert float(working.masks[0, 64, 64]) == 1
    assert float(working.masks[0, 2, 2]) == 0
    assert bool(working.inside[0, 64, 64])
    assert not bool(working.inside[0, 2, 2])


def test_enlarging_never_goes_dark():
    camera = _camera([], size=64)
    image = torch.zeros(64, 64, 3)
    image[:, 32:] = 1
    working = working_views([_view(camera, image)], torch.tensor([[24.0, 24, 40, 40]]), 64)
    assert float(working.images.min()) == 0


def test_window_camera_widens_to_a_square():
    window = window_camera(_camera([]), torch.tensor([10.0, 20, 50, 40]), 80)
    corner = window.K[:2, 2] / 2 + torch.tensor([10.0, 10.0], dtype=torch.float64)
    torch.testing.assert_close(corner, _camera([]).K[:2, 2])


def test_face_boxes_by_hand():
    points = torch.tensor([[[10.0, 20], [30, 60], [torch.nan, 0]], [[0.0, 0], [4, 4], [99, 9]]])
    confidence = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    boxes = face_boxes(points, 0.25, confidence)
    # Extent 40 about (20, 40): 30 to every side. Extent 4 about (2, 2): 3 to every side.
    assert boxes.tolist() == [[-10, 10, 50, 70], [-1, -1, 5, 5]]
    with pytest.raises(ValueError, match="a view has no usable point"):
        face_boxes(points, 0.25, torch.zeros(2, 3))


def test_schemes_are_joined():
    dense = Landmarks(torch.zeros(478, 2), torch.ones(478), "mediapipe478")
    sparse = Landmarks(torch.zeros(68, 2), torch.ones(68), "ibug68")
    five = Landmarks(torch.zeros(5, 2), torch.ones(5), "five")
    assert [m and m.scheme for m in common_scheme([dense, None, sparse])] == [
        "ibug68",
        None,
        "ibug68",
    ]
    assert common_scheme([dense, five])[0].scheme == "five"
    assert common_scheme([dense, None])[0] is dense
    with pytest.raises(ValueError, match="five, ibug68, which cannot be joined"):
        common_scheme([five, sparse])


def test_errors():
    view = _view(_camera([]))
    with pytest.raises(ValueError, match=r"boxes: expected \(2, 4\), got \(1, 4\); one left"):
        working_views([view, view], torch.zeros(1, 4), 8)
    with pytest.raises(ValueError, match="left < right"):
        working_views([view], torch.zeros(1, 4), 8)
    with pytest.raises(ValueError, match="boxes: 4 of 4 values are NaN"):
        working_views([view], torch.full((1, 4), torch.nan), 8)
    with pytest.raises(ValueError, match="size: expected a positive"):
        working_views([view], torch.tensor([[0.0, 0, 4, 4]]), 0)
