"""The MediaPipe detector on a public-domain photograph: equivariance, small and large faces, noise."""

import builtins

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from hrnfit.io.image import load_image
from hrnfit.observe.facemesh import mirror_index
from hrnfit.observe.landmarks import MediaPipeDetector, _search_windows, _warp


@pytest.fixture(scope="module")
def detector(mediapipe):
    return MediaPipeDetector()


@pytest.fixture(scope="module")
def photo():
    return load_image(data.astronaut()).image


@pytest.fixture(scope="module")
def found(detector, photo):
    return detector.detect(photo)


def _rms(a, b):
    return float((a - b).pow(2).sum(-1).mean().sqrt())


def _width(landmarks):
    return float(landmarks.points[454, 0] - landmarks.points[234, 0])


def test_astronaut(found):
    assert found.scheme == "mediapipe478"
    assert found.points.shape == (478, 2)
    # Her pupils and the middle of her teeth, read off the photograph enlarged four times.
    expected = torch.tensor([[203.5, 100.8], [247, 103], [223.7, 146]])
    got = torch.stack([found.points[468], found.points[473], found.points[[13, 14]].mean(0)])
    assert float((got - expected).norm(dim=-1).max()) < 2.5
    assert bool(((found.confidence > 0) & (found.confidence <= 1)).all())
    assert float(found.confidence[[4, 13, 168]].min()) > 0.8


def test_the_same_twice(found, photo):
    again = MediaPipeDetector().detect(photo)
    assert torch.equal(again.points, found.points)
    assert torch.equal(again.confidence, found.confidence)


def test_turned_with_the_photograph(detector, found, photo):
    turned = detector.detect(torch.rot90(photo, 1, (0, 1)).contiguous())
    # A quarter turn to the left: (x, y) goes to (y, width - x).
    expected = torch.stack([found.points[:, 1], photo.shape[1] - found.points[:, 0]], -1)
    assert _rms(turned.points, expected) < 0.01 * _width(found)


def test_mirrored_with_the_photograph(detector, found, photo):
    mirrored = detector.detect(photo.flip(1))
    expected = found.points[mirror_index()].clone()
    expected[:, 0] = photo.shape[1] - expected[:, 0]
    assert _rms(mirrored.points, expected) < 0.01 * _width(found)


def test_a_small_face_in_a_large_picture(detector, found, photo):
    canvas = torch.full((1500, 2400, 3), 0.2)  # the face is 4 % of the width
    canvas[900:1412, 300:812] = photo
    points = detector.detect(canvas).points - torch.tensor([300.0, 900.0])
    assert _rms(points, found.points) < 0.02 * _width(found)


def test_a_face_that_fills_the_picture(detector, found, photo):
    low = found.points.amin(0).floor().int().tolist()
    high = found.points.amax(0).ceil().int().tolist()
    tight = photo[low[1] : high[1], low[0] : high[0]].contiguous()
    points = detector.detect(tight).points + torch.tensor(low)
    assert _rms(points, found.points) < 0.03 * _width(found)


def test_the_larger_of_two_faces(detector, found, photo):
    half = torch.from_numpy(cv2.resize(photo.numpy(), (256, 256), interpolation=cv2.INTER_AREA))
    both = torch.zeros(512, 800, 3)
    both[:, 288:] = photo
    both[100:356, :256] = half
    points = detector.detect(both).points - torch.tensor([288.0, 0.0])
    assert _rms(points, found.points) < 0.02 * _width(found)


def test_no_face(detector, generator):
    assert detector.detect(torch.rand(300, 400, 3, generator=generator)) is None


def test_nothing_reaches_stderr(capfd, photo, mediapipe):
    MediaPipeDetector().detect(photo)
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out == ""


def test_rig_views_agree(detector, data_dir):
    """Points seen from straight ahead land within 2.5 % of the face's width of the true ones."""
    from hrnfit.io.cameras import load_cameras
    from hrnfit.observe.facemesh import ibug68_from_mediapipe

    camera = load_cameras(data_dir / "rig_t1" / "cameras.json")[4]
    truth = np.asarray(np.load(data_dir / "rig_t1" / "ground_truth.npz")["lm68"])
    expected = camera.project(torch.from_numpy(truth).double()).float()
    image = load_image(data_dir / "rig_t1" / "images" / f"{camera.name}.png").image
    marks = detector.detect(image)
    error = (ibug68_from_mediapipe(marks).points - expected).norm(dim=-1)
    assert float(error[27:].median()) < 0.025 * _width(marks)


def test_missing_extra_names_the_install_line(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("mediapipe"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'hrnfit\[detect\]'; or pass landmarks="):
        MediaPipeDetector()


def test_search_windows_begin_with_the_whole_image_and_cover_it():
    windows = list(_search_windows(600, 2000))
    matrix, size = windows[0]
    np.testing.assert_allclose(matrix @ [2000, 600, 1], size, atol=1)
    covered = np.zeros((600, 2000), bool)
    for matrix, size in windows[2:-3]:
        corners = [
            np.linalg.solve(matrix[:, :2], np.array(c) - matrix[:, 2]) for c in ((0, 0), size)
        ]
        (left, top), (right, bottom) = np.maximum(np.rint(corners), 0).astype(int)
        covered[top:bottom, left:right] = True
    assert covered.all()


def test_warp_keeps_the_half_pixel():
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 2, (64, 1, 3))
    half = _warp(ramp, np.array([[0.5, 0, 0], [0, 0.5, 0]]), (32, 32))
    np.testing.assert_array_equal(half[5, :, 0], ramp.reshape(64, 32, 2, 3).mean(2)[10, :, 0])
