"""Colours of vertices as an albedo in the chart: the sRGB curve to first order, and the fill outside."""

from __future__ import annotations

import numpy as np
import torch

from hrnfit.importers.vertex_albedo import chart_raster, filled, srgb_slope, with_vertex_albedo
from hrnfit.io.image import linear_from_srgb
from tests.model.faces import small_model


def test_slope_is_the_derivative_of_the_curve():
    encoded = torch.linspace(0.0, 1.0, 101, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(linear_from_srgb(encoded).sum(), encoded)
    assert torch.allclose(srgb_slope(encoded.detach()), slope)
    assert float(srgb_slope(torch.tensor(1.0))) == torch.tensor(2.4 / 1.055)


def test_first_order_at_the_mean():
    """Half a grey level of change agrees to the second order; the mean exactly."""
    model = small_model()
    mean = np.full((model.n_vertices, 3), 0.5)
    modes = np.full((2, model.n_vertices, 3), 0.1)
    painted = with_vertex_albedo(model, mean, modes, 32, 16)
    zero, little = torch.zeros(2), torch.tensor([0.01, 0.0])
    expected = linear_from_srgb(torch.tensor(0.5))
    assert torch.allclose(painted.albedo(zero), expected.expand(32, 32, 3), atol=1e-6)
    moved = linear_from_srgb(torch.tensor(0.501))
    assert torch.allclose(painted.albedo(little), moved.expand(32, 32, 3), atol=2e-6)


def test_no_modes():
    model = small_model()
    painted = with_vertex_albedo(
        model, np.full((model.n_vertices, 3), 0.5), np.zeros((0, model.n_vertices, 3)), 16, 8
    )
    assert painted.n_albedo == 0
    assert painted.albedo(torch.zeros(0)).shape == (16, 16, 3)


def test_fill_takes_the_nearest_inside():
    maps = torch.zeros(1, 1, 5, 1)
    maps[0, 0, :, 0] = torch.tensor([0.0, 0.0, 7.0, 9.0, 0.0])
    mask = torch.tensor([[False, False, True, True, False]])
    assert filled(maps, mask)[0, 0, :, 0].tolist() == [7.0, 7.0, 7.0, 9.0, 9.0]


def test_raster_covers_the_chart():
    model = small_model()
    mask = chart_raster(model, 64).mask
    assert 0.5 < float(mask.float().mean()) < 1.0
