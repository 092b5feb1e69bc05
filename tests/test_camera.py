"""Camera: projection against OpenCV, exact inverses, half-pixel conventions, and bad calibrations."""

import cv2
import numpy as np
import pytest
import torch

from hrnfit.camera import Camera, check_camera, check_rig_scale

LENSES = [
    [],
    [-0.12, 0.05, 0.001, -0.0007],
    [-0.12, 0.05, 0.001, -0.0007, 0.02],
    [0.3, -0.1, 0.001, -0.002, 0.05, 0.35, -0.05, 0.02],
    [0.3, -0.1, 0.001, -0.002, 0.05, 0.35, -0.05, 0.02, 0.001, -0.002, 0.003, 0.0004],
]


def _camera(lens=LENSES[2], **changes):
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.3, -0.4, 0.2]))[0]
    pose[:3, 3] = [12.0, -30.0, 900.0]
    values = {
        "K": [[1100.0, 0.0, 410.0], [0.0, 1090.0, 290.0], [0.0, 0.0, 1.0]],
        "T_cam_world": pose,
        "distortion": lens,
        "height": 600,
        "width": 800,
        "name": "cam_3",
    }
    return Camera.create(**{**values, **changes})


def _points(generator, *shape):
    return 200 * (torch.rand(*shape, 3, generator=generator, dtype=torch.float64) - 0.5)


@pytest.mark.parametrize("lens", LENSES, ids=len)
def test_project_equals_opencv(lens, generator):
    camera, x = _camera(lens), _points(generator, 50)
    pose, K = camera.T_cam_world.numpy(), camera.K.numpy()
    rotation = cv2.Rodrigues(pose[:3, :3])[0]
    k = np.array(lens) if lens else None
    expected, _ = cv2.projectPoints(x.numpy(), rotation, pose[:3, 3], K, k)
    torch.testing.assert_close(
        camera.project(x), torch.from_numpy(expected[:, 0]), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("lens", LENSES, ids=len)
@pytest.mark.parametrize("batch", [(), (6,), (2, 3)])
def test_unproject_inverts_project(lens, batch, generator):
    camera, x = _camera(lens), _points(generator, *batch)
    back = camera.unproject(camera.project(x), camera.depth(x))
    torch.testing.assert_close(back, x, atol=1e-8, rtol=0)


def test_project_by_hand():
    camera = Camera.create([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]], height=80, width=100)
    x = torch.tensor([10.0, -20.0, 100.0], dtype=torch.float64)
    torch.testing.assert_close(camera.project(x), torch.tensor([60.0, 20.0], dtype=torch.float64))
    assert float(camera.depth(x)) == 100.0


def test_project_honours_skew():
    K = [[100.0, 5.0, 50.0], [0.0, 100.0, 40.0], [0.0, 0.0, 1.0]]
    camera = Camera.create(K, distortion=LENSES[1], height=80, width=100)
    x = torch.tensor([[10.0, -20.0, 100.0]], dtype=torch.float64)
    torch.testing.assert_close(camera.unproject(camera.project(x), camera.depth(x)), x)


def test_project_and_unproject_gradcheck(generator):
    camera, x = _camera(), _points(generator, 3).requires_grad_()
    assert torch.autograd.gradcheck(camera.project, (x,))
    pixels = camera.project(x).detach().requires_grad_()
    depth = camera.depth(x).detach().requires_grad_()
    assert torch.autograd.gradcheck(camera.unproject, (pixels, depth))


def test_project_is_finite_in_the_cameras_own_plane():
    camera = Camera.create(torch.eye(3), height=10, width=10)
    x = torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64, requires_grad=True)
    pixels = camera.project(x)
    pixels.sum().backward()
    assert bool(pixels.isfinite().all())
    assert bool(x.grad.isfinite().all())


def test_undistort_gives_the_pinhole_pixel_and_distort_brings_it_back(generator):
    camera, x = _camera(), _points(generator, 20)
    pixels = camera.project(x)
    torch.testing.assert_close(
        camera.undistort(pixels), camera.pinhole().project(x), atol=1e-8, rtol=0
    )
    torch.testing.assert_close(camera.distort(camera.undistort(pixels)), pixels, atol=1e-8, rtol=0)


def test_crop_and_resize_move_pixels_exactly(generator):
    camera, x = _camera(), _points(generator, 9)
    pixels = camera.project(x)
    cropped = camera.crop(13.5, -7.0, 300, 200)
    assert (cropped.height, cropped.width) == (200, 300)
    torch.testing.assert_close(cropped.project(x), pixels - pixels.new_tensor([13.5, -7.0]))
    # Twice as wide, three times as high: the corner (0, 0) stays, so no half pixel is lost.
    resized = camera.resize(1800, 1600)
    torch.testing.assert_close(resized.project(x), pixels * pixels.new_tensor([2.0, 3.0]))
    back = resized.resize(600, 800).crop(5, 6, 10, 10).crop(-5, -6, 800, 600)
    torch.testing.assert_close(back.K, camera.K, atol=1e-12, rtol=0)


def test_resize_agrees_with_the_averaged_image():
    # A dot at the centre of the 2x2 block (4..6, 2..4) is the centre of pixel (2, 1) at half size.
    camera = Camera.create([[1.0, 0, 5], [0, 1, 3], [0, 0, 1]], height=8, width=10)
    pixel = camera.resize(4, 5).project(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(pixel, torch.tensor([2.5, 1.5], dtype=torch.float64))


def test_look_at_sees_its_target_upright_in_the_middle():
    camera = Camera.look_at((100, 50, 800), (10, 20, 0), focal=1000, height=400, width=600)
    target = torch.tensor([10.0, 20.0, 0.0], dtype=torch.float64)
    centre = torch.tensor([300.0, 200.0], dtype=torch.float64)
    torch.testing.assert_close(camera.project(target), centre)
    above = camera.project(target + torch.tensor([0.0, 5.0, 0.0], dtype=torch.float64))
    assert float(above[1]) < 200
    assert abs(float(above[0]) - 300) < 1e-9
    torch.testing.assert_close(camera.centre, torch.tensor([100.0, 50, 800], dtype=torch.float64))
    with pytest.raises(ValueError, match="up is parallel"):
        Camera.look_at((0, 100, 0), focal=1000, height=4, width=4)


def test_sees_only_what_is_in_front_and_inside():
    camera = Camera.create([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]], height=80, width=100)
    x = torch.tensor(
        [[0.0, 0, 100], [0, 0, -100], [60, 0, 100], [0, -41, 100]], dtype=torch.float64
    )
    assert camera.sees(x).tolist() == [True, False, False, False]


def test_sees_nothing_beyond_the_fold_of_the_lens():
    # At 60 degrees r = 1.73; r (1 - r^2 / 3) = 0 there: the point folds back onto the centre.
    camera = Camera.create(
        [[100.0, 0, 50], [0, 100, 40], [0, 0, 1]], None, [-1 / 3, 0, 0, 0], height=80, width=100
    )
    folded = torch.tensor([1.73, 0.0, 1.0], dtype=torch.float64)
    assert 0 < float(camera.project(folded)[0]) < 100
    assert not bool(camera.sees(folded))
    with pytest.raises(ValueError, match="outside the lens model"):
        camera.undistort(torch.tensor([[120.0, 40.0]], dtype=torch.float64))


def test_to_casts_every_tensor():
    camera = _camera().to(torch.float32)
    assert {camera.K.dtype, camera.T_cam_world.dtype, camera.distortion.dtype} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": np.eye(4)}, r"camera 'cam_3': K: expected \(3, 3\), got \(4, 4\)"),
        ({"T_cam_world": np.eye(4)[:3]}, r"T_cam_world: expected \(4, 4\).*append the row 0 0 0 1"),
        ({"distortion": [0.1, 0.2]}, "2 coefficients; expected 0, 4, 5, 8 or 12"),
        ({"height": 0}, "image size is 800x0"),
        ({"K": [[np.nan, 0, 0], [0, 1, 0], [0, 0, 1]]}, "K: 1 of 9 values are NaN.*calibration"),
        ({"K": np.diag([-5.0, 5.0, 1.0])}, "focal lengths must be positive.*OpenGL"),
        ({"K": [[5.0, 0, 0], [0, 5, 0], [3, 3, 1]]}, "is it transposed"),
        ({"T_cam_world": np.diag([1.02, 1, 1, 1])}, r"not a rotation, .* differs .* by 0\.0404"),
        ({"T_cam_world": np.diag([1.0, 1, -1, 1])}, "a reflection"),
        ({"T_cam_world": np.eye(4) + np.eye(4, k=-3)}, "must end with the row 0 0 0 1"),
    ],
)
def test_bad_calibration_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        _camera(**changes)


def test_check_camera_accepts_a_rounded_rotation():
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 1] = 4e-4
    check_camera(_camera(T_cam_world=pose))


def _rig(scale):
    return [
        Camera.look_at(
            (scale * x, 0, scale * 1000), focal=1000, height=100, width=100, name=f"c{x}"
        )
        for x in (-300, 0, 300)
    ]


def test_check_rig_scale():
    check_rig_scale(_rig(1.0))
    check_rig_scale(_rig(1.0), head=torch.zeros(3))
    check_rig_scale(_rig(1.0)[:1])
    check_rig_scale([Camera.create(torch.eye(3), height=9, width=9)] * 2)
    with pytest.raises(ValueError, match=r"farthest two of 3 are 0\.6 apart.*multiply .* by 1000"):
        check_rig_scale(_rig(0.001))
    with pytest.raises(ValueError, match=r"head is 1 from .* metres.*by 1000"):
        check_rig_scale(_rig(0.001)[1:2], head=torch.zeros(3))
    with pytest.raises(ValueError, match=r"head is 50 from .* centimetres.*by 10$"):
        check_rig_scale(_rig(0.05)[1:2], head=torch.zeros(3))
