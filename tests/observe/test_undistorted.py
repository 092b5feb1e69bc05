"""Landmarks without their lens: the camera's own numbers, computed once."""

from __future__ import annotations

import pytest
import torch

from hrnfit.camera import Camera
from hrnfit.observe import undistorted as kept
from hrnfit.observe.undistorted import undistorted


def lens(k1: float = -0.1) -> Camera:
    K = [[700.0, 0.5, 320.0], [0.0, 690.0, 240.0], [0.0, 0.0, 1.0]]
    return Camera.create(K, distortion=[k1, 0.02, 1e-3, -1e-3], height=480, width=640)


def test_points_are_those_of_the_camera_bit_for_bit_and_of_their_own_memory():
    points = torch.rand(30, 2) * 400
    kept._undistorted.cache_clear()
    first = undistorted(lens(), points)
    assert torch.equal(first, lens().undistort(points.double()))
    first.zero_()
    again = undistorted(lens(), points)
    assert torch.equal(again, lens().undistort(points.double()))
    assert kept._undistorted.cache_info().hits == 1


def test_other_points_and_another_lens_are_other_calls():
    points = torch.rand(30, 2) * 400
    first = undistorted(lens(), points)
    assert torch.equal(undistorted(lens(-0.05), points), lens(-0.05).undistort(points.double()))
    points[3] += 1.0  # in place
    moved = undistorted(lens(), points)
    assert not torch.equal(moved, first)
    assert torch.equal(moved, lens().undistort(points.double()))


def test_a_pinhole_leaves_points_where_they_are():
    camera = Camera.look_at((0, 0, 500), focal=800, height=480, width=640)
    points = torch.rand(5, 2) * 400
    assert undistorted(camera, points) == pytest.approx(points.double(), abs=1e-9)


def test_points_beyond_the_lens_are_an_error():
    with pytest.raises(ValueError, match="lie outside the lens model"):
        undistorted(lens(-0.8), torch.tensor([[6000.0, 240.0]]))


def test_gradients_in_the_points_pass():
    points = (torch.rand(5, 2) * 400).double().requires_grad_()
    for _ in range(2):  # nothing is kept of the first
        (slope,) = torch.autograd.grad(undistorted(lens(), points).sum(), points)
        assert slope.abs().min() > 0.1
