"""Confidence of landmarks on a turned head: the far side is hidden, the near side is not."""

import pytest
import torch
from skimage import data

from hrnfit.io.image import load_image
from hrnfit.observe.landmarks import MediaPipeDetector
from hrnfit.observe.selfocclusion import HIDDEN, face_triangles, visibility


@pytest.fixture(scope="module")
def shape(mediapipe):
    """FaceMesh's own 3D points of a photographed face, turned to look straight ahead, unit width."""
    detector = MediaPipeDetector(margins=(1.5,))
    photo = load_image(data.astronaut()).image
    from hrnfit.io.image import encode_srgb

    codes = encode_srgb(photo)
    points = torch.from_numpy(detector._search(codes))
    across = points[454] - points[234]
    down = points[152] - points[10]
    x = across / across.norm()
    y = down - (down @ x) * x
    y = y / y.norm()
    R = torch.stack([x, y, torch.linalg.cross(x, y)])
    centred = (points - points[:468].mean(0)) @ R.mT
    return (centred / across.norm()).float()


def _turned(shape, yaw):
    c, s = torch.cos(torch.tensor(yaw)), torch.sin(torch.tensor(yaw))
    R = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return shape @ R.mT


def test_triangles_are_the_mesh(mediapipe):
    triangles = face_triangles()
    assert triangles.shape == (852, 3)
    assert int(triangles.max()) == 467


def test_straight_ahead_the_inner_face_is_seen(shape):
    seen = visibility(shape)
    assert float(seen[[4, 1, 168, 13, 9, 33, 263, 61, 291]].min()) > 0.6
    assert seen.shape == (478,)


@pytest.mark.parametrize(("yaw", "far", "near"), [(0.9, 234, 454), (-0.9, 454, 234)])
def test_turned_the_far_side_is_hidden(shape, yaw, far, near):
    # Positive yaw brings the image-right side to the front: z decreases there.
    points = _turned(shape, yaw)
    if points[near, 2] > points[far, 2]:
        near, far = far, near
    seen = visibility(points)
    assert float(seen[far]) < HIDDEN + 0.1
    assert float(seen[near]) > 0.5


def test_independent_of_scale_and_place(shape):
    points = _turned(shape, 0.5)
    moved = 300 * points + torch.tensor([500.0, 400.0, 20.0])
    torch.testing.assert_close(visibility(points), visibility(moved), atol=1e-3, rtol=0)
