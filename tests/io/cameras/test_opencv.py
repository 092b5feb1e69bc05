"""The OpenCV camera list: its pixel origin, its round trip, and what it says of bad files."""

import json

import numpy as np
import pytest
import torch

from hrnfit.camera import Camera
from hrnfit.io.cameras import load_cameras, save_cameras

ENTRY = {
    "name": "cam_0",
    "K": [[1000.0, 0.0, 499.5], [0.0, 1000.0, 299.5], [0.0, 0.0, 1.0]],
    "dist": [-0.1, 0.02, 0.001, 0.0, 0.0],
    "T_cam_world": np.eye(4).tolist(),
    "width": 1000,
    "height": 600,
}


def _write(tmp_path, entries):
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(entries))
    return path


def test_pixels_are_counted_from_the_corner(tmp_path):
    (camera,) = load_cameras(_write(tmp_path, [ENTRY]))
    # A principal point between the two middle pixel centres is the middle of the image.
    assert camera.K[:2, 2].tolist() == [500.0, 300.0]
    assert (camera.width, camera.height, camera.name) == (1000, 600, "cam_0")
    assert camera.K.dtype == torch.float64


def test_round_trip(tmp_path):
    cameras = (
        Camera.look_at((10, 20, 900), focal=1234.5678, height=480, width=640, name="a"),
        Camera.create(
            np.array([[900.1, 0.3, 320.7], [0, 901.2, 239.9], [0, 0, 1]]),
            distortion=[0.1, 0.2, 0.01, 0.02, 0.3, 0.4, 0.5, 0.6],
            height=480,
            width=640,
            name="b",
        ),
    )
    save_cameras(tmp_path / "out" / "rig.json", cameras)
    back = load_cameras(tmp_path / "out" / "rig.json")
    for one, two in zip(cameras, back, strict=True):
        torch.testing.assert_close(two.K, one.K, atol=1e-12, rtol=0)
        assert torch.equal(two.T_cam_world, one.T_cam_world)
        assert torch.equal(two.distortion, one.distortion)
        assert (two.name, two.height, two.width) == (one.name, one.height, one.width)


def test_untilted_fourteen_coefficients_and_missing_dist(tmp_path):
    long = {**ENTRY, "dist": [-0.1] + [0.0] * 13}
    none = {k: v for k, v in ENTRY.items() if k != "dist"} | {"name": "b"}
    first, second = load_cameras(_write(tmp_path, [long, none]))
    assert len(first.distortion) == 12
    assert len(second.distortion) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": None}, r"camera 0 \(cam_0\): K must be 3x3"),
        ({"K": [["a"]]}, "K must hold numbers only"),
        (
            {"K": [[float("nan"), 0, 0], [0, 1, 0], [0, 0, 1]]},
            r"\(cam_0\): K: 1 of 9 values are NaN",
        ),
        ({"T_cam_world": np.eye(3).tolist()}, r"T_cam_world must be 4x4, got \(3, 3\)"),
        ({"T_cam_world": (2 * np.eye(4)).tolist()}, "not a rotation"),
        ({"width": 10.5}, "width must be a whole number of pixels, got 10.5"),
        ({"width": float("inf")}, "width must be a whole number of pixels, got inf"),
        ({"height": float("nan")}, "height must be a whole number of pixels, got nan"),
        ({"height": "600"}, "height must be a whole number"),
        ({"height": 0}, "image size is 1000x0"),
        ({"dist": [0.0] * 12 + [0.1, 0.0]}, "tilted sensor"),
        ({"dist": [0.1, 0.2]}, "2 coefficients"),
    ],
)
def test_bad_fields_are_named(tmp_path, change, message):
    path = _write(tmp_path, [{**ENTRY, **change}])
    with pytest.raises(ValueError, match=message) as info:
        load_cameras(path)
    assert str(path) in str(info.value)


def test_missing_image_size(tmp_path):
    entry = {k: v for k, v in ENTRY.items() if k != "width"}
    with pytest.raises(ValueError, match=r"camera 0 \(cam_0\): field 'width' is missing"):
        load_cameras(_write(tmp_path, [entry]))


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="cameras: no file"):
        load_cameras(tmp_path / "nothing.json")
    (tmp_path / "a.xml").write_text("<x/>")
    with pytest.raises(ValueError, match=r"type \.xml are not known; known: \.json"):
        load_cameras(tmp_path / "a.xml")
    (tmp_path / "cameras.json").write_text("[{")
    with pytest.raises(ValueError, match="not valid JSON"):
        load_cameras(tmp_path / "cameras.json")
    with pytest.raises(ValueError, match="non-empty JSON list"):
        load_cameras(_write(tmp_path, []))
    with pytest.raises(ValueError, match="camera 1: expected an object"):
        load_cameras(_write(tmp_path, [ENTRY, 3]))
    with pytest.raises(ValueError, match="'cam_0' occurs twice"):
        load_cameras(_write(tmp_path, [ENTRY, ENTRY]))


def test_rig_projects_its_own_landmarks(data_dir):
    truth = np.load(data_dir / "rig_t1" / "ground_truth.npz")
    points = torch.from_numpy(np.asarray(truth["lm68"])).double()
    for camera in load_cameras(data_dir / "rig_t1" / "cameras.json"):
        assert bool(camera.sees(points).all())
