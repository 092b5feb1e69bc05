"""The thin-plate spline of space."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry.warp import thin_plate_spline


def points(generator, count=30):
    return 50.0 * torch.randn(count, 3, generator=generator, dtype=torch.float64)


def test_affine_maps_cost_nothing(generator):
    source = points(generator)
    A = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(3, 3, generator=generator).double()
    warp = thin_plate_spline(source, source @ A.mT + 7.0, torch.full((30,), 2.0).double())
    elsewhere = points(generator, 10) * 4.0
    assert torch.allclose(warp(elsewhere), elsewhere @ A.mT + 7.0, atol=1e-6)


def test_looseness_goes_from_the_affine_map_to_every_pair(generator):
    source = points(generator)
    target = source + 5.0 * torch.sin(source / 20.0)
    deviation = torch.ones(30, dtype=torch.float64)
    gaps = [
        float((thin_plate_spline(source, target, deviation, t)(source) - target).norm(dim=1).mean())
        for t in (1e-6, 1e-2, 1.0, 1e9)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 1.0
    assert gaps[-1] < 1e-6


def test_an_unsure_pair_pulls_less(generator):
    source = points(generator)
    target = source.clone()
    target[0] += 20.0
    sure = torch.ones(30, dtype=torch.float64)
    unsure = sure.clone()
    unsure[0] = 50.0
    moved = [
        float((thin_plate_spline(source, target, d)(source) - source)[0].norm())
        for d in (sure, unsure)
    ]
    assert moved[1] < 0.1 * moved[0]


def test_points_in_a_plane_and_few_points_are_told(generator):
    flat = points(generator) * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="at least 5 pairs"):
        thin_plate_spline(flat[:4], flat[:4], torch.ones(4, dtype=torch.float64))
    with pytest.raises(ValueError, match="one plane"):
        thin_plate_spline(flat, flat, torch.ones(30, dtype=torch.float64))
