"""Correlated landmark noise: what it believes, what it does not, and the block that uses it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from hrnfit.energy.landmark import (
    LandmarkBasis,
    LandmarkBlock,
    WhitenedLandmarkBlock,
    contour_metric,
)
from hrnfit.fit.detector_noise import EVERY, measured_noise, used_points, whitening
from hrnfit.fit.landmark_views import LandmarkView


def make_view(roll: float = 0.0) -> LandmarkView:
    """Random points whose outer eye corners lie level, turned by `roll` rad."""
    generator = torch.Generator().manual_seed(3)
    pixels = 100.0 * torch.randn(478, 2, generator=generator, dtype=torch.float64)
    pixels[33], pixels[263] = torch.tensor([-50.0, 0.0]), torch.tensor([50.0, 0.0])
    c, s = math.cos(roll), math.sin(roll)
    pixels = pixels @ torch.tensor([[c, -s], [s, c]], dtype=torch.float64).T
    eye = torch.eye(4, dtype=torch.float64)
    basis = LandmarkBasis(
        torch.randn(478, 3, generator=generator, dtype=torch.float64),
        torch.randn(2, 478, 3, generator=generator, dtype=torch.float64),
        torch.randn(2, 478, 3, generator=generator, dtype=torch.float64),
    )
    return LandmarkView(
        index=0,
        name="photo",
        frame=0,
        scheme="mediapipe478",
        camera_known=False,
        K=torch.diag(torch.tensor([1000.0, 1000.0, 1.0], dtype=torch.float64)),
        T_cam_world=eye,
        pixels=pixels,
        weight=torch.ones(478, dtype=torch.float64),
        direction=contour_metric(pixels, "mediapipe478"),
        basis=basis,
    )


def test_measured_noise_is_about_two_millimetres() -> None:
    basis, variance = measured_noise()
    assert basis.shape[:2] == (478, 2)
    assert variance.shape == (478, 2)
    assert (variance > 0).all()
    length = (basis.square().sum((1, 2)) + variance.sum(1)).mean().sqrt()
    assert 1.5 < float(length) < 3.0


def test_common_patterns_cost_less_than_independent_errors() -> None:
    """An offset along the strongest pattern is cheap against the same offsets in random order."""
    view = make_view()
    points = used_points(view)
    W = whitening(view, points, 1.0)
    pattern = measured_noise()[0][points, :, 0]
    shuffled = pattern[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))]
    cost = [float((W @ e.flatten()).square().sum()) for e in (pattern, shuffled)]
    assert cost[0] < 1.01
    assert cost[1] > 20 * cost[0]


def test_whitening_turns_with_the_head_and_scales_with_inflation() -> None:
    upright, rolled = make_view(), make_view(0.4)
    points = used_points(upright)
    c, s = math.cos(0.4), math.sin(0.4)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    e = torch.ones(len(points), 2, dtype=torch.float64)
    e[: len(points) // 2, 0] = -2.0
    before = (whitening(upright, points, 1.0) @ e.flatten()).square().sum()
    after = (whitening(rolled, points, 1.0) @ (e @ turn.T).flatten()).square().sum()
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)
    inflated = (whitening(upright, points, 4.0) @ e.flatten()).square().sum()
    assert 0.2 < float(inflated / before) < 1.0


def test_unseen_points_are_not_used() -> None:
    view = make_view()
    weight = view.weight.clone()
    weight[EVERY] = 0.0
    points = used_points(replace(view, weight=weight))
    assert points[:2].tolist() == [0, 2 * EVERY]


def test_whitened_jacobians_match_differences() -> None:
    view = make_view()
    points = used_points(view)[:12]
    pose = torch.eye(4, dtype=torch.float64)
    pose[2, 3] = 600.0
    block = LandmarkBlock(
        slots=(("identity", None), ("expression", 0), ("pose", 0), ("log_focal", 0)),
        basis=LandmarkBasis(
            view.basis.mean[points],
            view.basis.identity[:, points],
            view.basis.expression[:, points],
        ),
        pose_reference=pose,
        T_cam_world=view.T_cam_world,
        K=view.K,
        pixels=view.pixels[points],
        metric=0.6 * torch.eye(2, dtype=torch.float64).expand(12, 2, 2),
        weight=torch.ones(12, dtype=torch.float64),
        kernel="square",
    )
    whitened = WhitenedLandmarkBlock(block, whitening(view, points, 1.0))
    values = [torch.full((n,), 0.01, dtype=torch.float64) for n in (2, 2, 6, 1)]
    residual, jacobians = whitened.linearize(*values)
    torch.testing.assert_close(residual, whitened.residual(*values))
    numeric = torch.autograd.functional.jacobian(whitened.residual, tuple(values))
    for analytic, reference in zip(jacobians, numeric, strict=True):
        torch.testing.assert_close(analytic, reference, rtol=1e-6, atol=1e-6)
