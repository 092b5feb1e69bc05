"""Views from what users give: matching by name and by order, and every kind of bad input."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from hrnfit.camera import Camera
from hrnfit.io.cameras import save_cameras
from hrnfit.observe.load import GUESSED_FOCAL, listed, load_views


def _image(value=100, height=48, width=64):
    return np.full((height, width, 3), value, np.uint8)


def _camera(name="", x=0.0, height=48, width=64, focal=100.0):
    return Camera.look_at((x, 0, 900), focal=focal, height=height, width=width, name=name)


@pytest.fixture
def rig(tmp_path):
    """Three image files, their cameras in another order, and one camera more."""
    names = ["left", "middle", "right"]
    paths = []
    for i, name in enumerate(names):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(_image(50 * (i + 1))).save(paths[-1])
    cameras = [
        _camera(n, x)
        for n, x in zip(["right", "top", "left", "middle"], (3e2, 1e2, 0, 2e2), strict=True)
    ]
    save_cameras(tmp_path / "cameras.json", cameras)
    return tmp_path, paths


def test_rig_by_name(rig):
    folder, paths = rig
    views, warnings = load_views(paths, folder / "cameras.json")
    assert warnings == ()
    assert [v.name for v in views] == ["left", "middle", "right"]
    assert [float(v.camera.centre[0]) for v in views] == pytest.approx([0, 200, 300], abs=1e-9)
    assert [v.frame for v in views] == [0, 0, 0]
    assert all(v.camera_known for v in views)
    assert views[0].image[0, 0, 0] < views[2].image[0, 0, 0]


def test_unknown_cameras_are_guessed(rig):
    _, paths = rig
    views, _ = load_views(paths)
    assert [v.frame for v in views] == [0, 1, 2]
    camera = views[0].camera
    assert not views[0].camera_known
    assert camera.K[0].tolist() == [GUESSED_FOCAL * 64, 0, 32]
    assert camera.K[1].tolist() == [0, GUESSED_FOCAL * 64, 24]
    assert torch.equal(camera.T_cam_world, torch.eye(4, dtype=torch.float64))


def test_arrays_and_cameras_by_order():
    views, warnings = load_views([_image(), _image()], [_camera("a", 0), _camera("b", 500)])
    assert [v.name for v in views] == ["view_0", "view_1"]
    assert float(views[1].camera.centre[0]) == pytest.approx(500)
    assert warnings == ()
    views, _ = load_views({"b": _image(), "a": _image()}, [_camera("a", 0), _camera("b", 500)])
    assert float(views[0].camera.centre[0]) == pytest.approx(500)
    views, _ = load_views(_image(), _camera())
    assert len(views) == 1


def test_files_and_cameras_by_order_warn(rig):
    _, paths = rig
    _, warnings = load_views(paths[:2], [_camera("x", 0), _camera("y", 500)])
    assert "belong to images by order" in warnings[0]
    assert "left, middle" in warnings[0]
    assert "x, y" in warnings[0]


def test_more_cameras_than_images(rig):
    _, paths = rig
    cameras = [_camera(n, 100 * i) for i, n in enumerate("abcd")]
    with pytest.raises(
        ValueError, match=r"4 cameras for 3 images.*left, middle, right; cameras: a, b, c, d"
    ):
        load_views(paths, cameras)
    with pytest.raises(
        ValueError, match=r"none is named like image 'middle'; name it .*images: .*cameras: left"
    ):
        load_views(paths, [_camera("left"), _camera("b", 100), _camera("c", 200)])


def test_cameras_in_metres():
    with pytest.raises(ValueError, match="looks like metres"):
        load_views([_image(), _image()], [_camera(x=0), _camera(x=0.5)])


def test_broken_camera_object():
    camera = _camera()
    camera.K[0, 0] = torch.nan
    with pytest.raises(ValueError, match="K: 1 of 9 values are NaN"):
        load_views(_image(), camera)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            (96, 128),
            r"128x96 pixels, its camera .* 64x48; the aspect agrees.*camera\.resize\(96, 128\)",
        ),
        ((64, 48), "turned by 90 degrees: check its EXIF orientation"),
        ((48, 80), r"80x48 .* cropped, pass camera\.crop"),
    ],
)
def test_image_size_differs_from_its_camera(size, message):
    with pytest.raises(ValueError, match=message):
        load_views(_image(height=size[0], width=size[1]), _camera())


def test_one_bad_view_is_left_out(rig, caplog):
    folder, paths = rig
    paths[1].write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        views, warnings = load_views(paths, folder / "cameras.json", frames=[0, 4, 7])
    assert [v.name for v in views] == ["left", "right"]
    assert [v.frame for v in views] == [0, 1]
    assert len(warnings) == 1
    assert warnings[0].startswith("view 'middle' is left out: ")
    assert "the file is empty" in warnings[0]
    assert warnings[0] in caplog.text


def test_no_good_view_is_an_error(rig):
    folder, paths = rig
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of 3 can be used: .*left.*; .*middle.*; .*right"):
        load_views(paths, folder / "cameras.json")
    with pytest.raises(ValueError, match=r"left\.png: .*; and 2 more$"):
        load_views(dict.fromkeys("abcde", paths[0]))
    with pytest.raises(ValueError, match=r"left\.png: the file is empty"):
        load_views(paths[:1])
    with pytest.raises(FileNotFoundError, match="no such image"):
        load_views(folder / "other.png")
    with pytest.raises(ValueError, match="images: none given"):
        load_views([])


def test_equal_stems(rig, tmp_path):
    _, paths = rig
    other = tmp_path / "second" / "left.png"
    other.parent.mkdir()
    Image.fromarray(_image()).save(other)
    views, _ = load_views([paths[0], other])
    assert [v.name for v in views] == [f"{tmp_path.name}_left", "second_left"]
    with pytest.raises(ValueError, match="is given twice"):
        load_views([paths[0], paths[0]])


def test_frames_are_checked():
    with pytest.raises(ValueError, match="frames: expected 2 numbers, one per image, got 1"):
        load_views([_image(), _image()], frames=[0])
    with pytest.raises(ValueError, match="whole numbers from 0"):
        load_views([_image(), _image()], frames=[0, -1])


def test_masks_from_a_folder(rig):
    folder, paths = rig
    masks = folder / "masks"
    masks.mkdir()
    Image.fromarray(np.eye(48, 64, dtype=np.uint8) * 255).save(masks / "left.png")
    views, warnings = load_views(paths, masks=masks)
    assert torch.equal(views[0].mask, torch.eye(48, 64))
    assert views[1].mask is None
    assert warnings == ("no mask given for middle, right",)
    with pytest.raises(ValueError, match=r"no file in .* is named like an image; images: middle"):
        load_views(paths[1], masks=masks)
    with pytest.raises(ValueError, match="is not a folder"):
        load_views(paths[1], masks=folder / "none")


def test_bad_masks():
    small = np.ones((24, 32), bool)
    with pytest.raises(ValueError, match=r"mask of 'view_0' has 32x24 pixels, its image 64x48"):
        load_views(_image(), masks=[small])
    with pytest.raises(ValueError, match="is empty: it leaves no pixel"):
        load_views(_image(), masks=[np.zeros((48, 64), bool)])
    with pytest.raises(ValueError, match="masks: 2 given for 1 images"):
        load_views(_image(), masks=[small, small])


def test_alpha_joins_the_mask():
    pixels = np.dstack([_image(), np.full((48, 64), 255, np.uint8)])
    pixels[:, :32, 3] = 0
    half = np.zeros((48, 64), bool)
    half[:24] = True
    (view,), _ = load_views(pixels, masks=[half])
    assert view.mask.sum() == 24 * 32
    (view,), _ = load_views(pixels)
    assert view.mask.sum() == 48 * 32


def test_landmarks_outside_the_image(rig):
    _, paths = rig
    points = np.full((68, 2), 20.0)
    points[7] = [70.0, 10.0]
    with pytest.raises(
        ValueError, match=r"1 of 68 points lie outside the 64x48 .* number 7 at \(70\.0, 10\.0\)"
    ):
        load_views(paths[0], landmarks=points)
    points[7] = np.nan
    (view,), _ = load_views(paths[0], landmarks=points)
    assert view.landmarks.confidence[7] == 0
    assert view.landmarks.scheme == "ibug68"


def test_landmarks_from_json(rig):
    folder, paths = rig
    points = np.full((5, 2), 20.0).tolist()
    path = folder / "landmarks.json"
    path.write_text(json.dumps({"left": points, "right": {"points": points, "scheme": "five"}}))
    views, warnings = load_views(paths, landmarks=path)
    assert [v.landmarks is None for v in views] == [False, True, False]
    assert warnings == ("no landmarks given for middle",)


def test_max_size_shrinks_image_camera_mask_and_landmarks_together():
    image = _image(height=96, width=128)
    camera = _camera(height=96, width=128)
    points = np.tile([[64.0, 24.0]], (5, 1))
    (view,), _ = load_views(
        image, camera, masks=[np.ones((96, 128), bool)], landmarks=points, max_size=64
    )
    assert tuple(view.image.shape) == (48, 64, 3)
    assert tuple(view.mask.shape) == (48, 64)
    assert (view.camera.height, view.camera.width) == (48, 64)
    assert float(view.camera.K[0, 0]) == 50
    assert view.landmarks.points[0].tolist() == [32, 12]


def test_images_of_an_iterator_are_looked_at_more_than_once(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(b"")
    found = listed(tmp_path.glob("*.png"))
    assert isinstance(found, list)
    assert sorted(found) == paths
    named = {"a": paths[0]}
    assert listed(named) is named
