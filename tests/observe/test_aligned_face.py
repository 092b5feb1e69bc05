"""Faces aligned by five points: the similarity, the look-up, and that the window does not matter."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from hrnfit.observe.aligned_face import POINTS, aligned, five_points, window_from_aligned
from hrnfit.observe.observation import Landmarks

TARGET = torch.tensor(POINTS, dtype=torch.float64) + 0.5
IDENTITY = torch.eye(3, dtype=torch.float64)[:2]


def moved(angle: float, scale: float, shift: tuple[float, float]) -> torch.Tensor:
    """Matrix (2, 3) of a similarity."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s, shift[0]], [s, c, shift[1]]], dtype=torch.float64)


def carried(matrix: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return points @ matrix[:, :2].mT + matrix[:, 2]


def waves(matrix: torch.Tensor, size: int) -> torch.Tensor:
    """A smooth picture (1, S, S, 2) that is the same function of the face in every window."""
    at = torch.arange(size, dtype=torch.float64) + 0.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    back = torch.linalg.inv(torch.cat([matrix, torch.tensor([[0.0, 0.0, 1.0]]).double()]))[:2]
    face = carried(back, torch.stack([x, y], -1))
    return torch.stack([(face[..., 0] / 9).sin(), (face[..., 1] / 7 + 1).cos()], -1)[None]


def test_points_in_place_give_the_picture_itself(generator):
    matrix, told = window_from_aligned(TARGET[None])
    assert bool(told)
    assert torch.allclose(matrix[0], IDENTITY, atol=1e-12)
    picture = torch.rand(1, 112, 112, 3, generator=generator, dtype=torch.float64)
    assert torch.allclose(aligned(picture, matrix)[0].movedim(0, -1), picture[0], atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.5, -3.0])
def test_a_similarity_is_found_exactly(angle):
    matrix = moved(angle, 1.7, (30.0, -12.0))
    found, told = window_from_aligned(carried(matrix, TARGET)[None])
    assert bool(told)
    assert torch.allclose(found[0], matrix, atol=1e-10)


def test_points_apart_from_their_places_are_met_in_least_squares(generator):
    points = carried(moved(0.3, 2.0, (5.0, 7.0)), TARGET)
    points = points + 4 * torch.randn(5, 2, generator=generator, dtype=torch.float64)
    found = window_from_aligned(points[None])[0][0].numpy()
    # x' = a x - b y + c, y' = b x + a y + d, from the window to the aligned picture
    rows, right = [], []
    for (x, y), (u, v) in zip(points.numpy(), TARGET.numpy(), strict=True):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        right += [u, v]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    there = np.array([[a, -b, c], [b, a, d], [0, 0, 1]])
    assert np.allclose(found, np.linalg.inv(there)[:2], atol=1e-9)


def test_a_ramp_by_hand():
    """Bilinear look-up reproduces a linear picture: the value is the place that was looked at."""
    at = torch.arange(100, dtype=torch.float64) + 0.5
    ramp = at.expand(100, 100)[None, ..., None]
    matrix = moved(0.0, 0.5, (20.0, 30.0))[None]
    row = aligned(ramp, matrix)[0, 0, 50]
    assert torch.allclose(row, 0.5 * (torch.arange(112) + 0.5).double() + 20.0)


def test_agrees_with_the_warp_that_the_networks_were_trained_on():
    """cv2 counts from the first pixel's centre, as the published points do."""
    matrix = moved(0.2, 0.8, (4.0, 6.0))
    picture = waves(matrix, 110)
    seen = aligned(picture, window_from_aligned(carried(matrix, TARGET)[None])[0])[0]
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    index = matrix.clone()
    index[:, 2] += matrix[:, :2] @ half - half
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    known = cv2.warpAffine(
        picture[0].numpy(), index.numpy(), (112, 112), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    assert np.abs(seen.movedim(0, -1).numpy() - known).max() < 5e-3  # cv2 rounds to 1/32 px


@pytest.mark.parametrize(
    ("angle", "scale", "size"), [(0.0, 2.0, 260), (0.6, 1.0, 170), (-2.0, 3.0, 520)]
)
def test_window_turned_or_scaled_shows_the_same_face(angle, scale, size):
    middle = torch.tensor([56.0, 56.0], dtype=torch.float64)
    matrix = moved(angle, scale, (0.0, 0.0))
    matrix[:, 2] = size / 2 - matrix[:, :2] @ middle
    found, _ = window_from_aligned(carried(matrix, TARGET)[None])
    seen = aligned(waves(matrix, size), found)
    plain = aligned(waves(IDENTITY, 112), IDENTITY[None])
    inside = (slice(None), slice(None), slice(20, 92), slice(20, 92))
    assert float((seen - plain)[inside].abs().max()) < 5e-3


def test_fine_texture_is_averaged_not_skipped():
    """A chequerboard of 1 px in a window four times as large is grey, not a moire of black and white."""
    at = torch.arange(448)
    board = ((at[:, None] + at) % 2).double()[None, ..., None]
    seen = aligned(board, moved(0.0, 4.0, (0.0, 0.0))[None])
    assert float((seen - 0.5).abs().max()) < 1e-12


def test_points_that_tell_nothing():
    same = torch.full((5, 2), 7.0, dtype=torch.float64)
    matrix, told = window_from_aligned(torch.stack([same, TARGET]))
    assert told.tolist() == [False, True]
    assert torch.equal(matrix[0], IDENTITY)


def test_five_points_of_every_scheme():
    points = torch.stack([torch.arange(68.0), 2 * torch.arange(68.0)], -1)
    confidence = torch.ones(68)
    confidence[45] = 0.25
    five = five_points(Landmarks(points, confidence, "ibug68"))
    assert five.points[:, 0].tolist() == [37.5, 43.5, 30.0, 48.0, 54.0]
    assert five.confidence.tolist() == [1.0, 0.25, 1.0, 1.0, 1.0]
    assert five_points(five) is five
    mesh = torch.stack([torch.arange(478.0), torch.zeros(478)], -1)
    dense = five_points(Landmarks(mesh, torch.ones(478), "mediapipe478"))
    assert dense.points[:, 0].tolist() == [83.0, 312.5, 4.0, 61.0, 291.0]
    with pytest.raises(ValueError, match="landmark scheme: 'ibug86' is not known; did you mean"):
        five_points(Landmarks(points, confidence, "ibug86"))


def test_gradient_reaches_the_window(generator):
    picture = torch.rand(1, 5, 5, 1, generator=generator, dtype=torch.float64, requires_grad=True)
    matrix = moved(0.1, 5 / 112, (0.2, 0.1))[None]
    assert torch.autograd.gradcheck(lambda p: aligned(p, matrix)[..., ::16, ::16], (picture,))
