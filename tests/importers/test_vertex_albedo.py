"""Vertex colours to albedo maps."""

from __future__ import annotations

import numpy as np
import torch

from hrnfit.geometry.uv import disk_chart
from hrnfit.importers.vertex_albedo import (
    BASIS_SIZE,
    MEAN_SIZE,
    chart_raster,
    filled,
    srgb_slope,
    uv_albedo,
)
from hrnfit.io.image import linear_from_srgb
from tests.model.faces import sheet, small_model


def test_slope_by_hand_and_by_gradient():
    assert abs(float(srgb_slope(torch.tensor(0.0))) - 1 / 12.92) < 1e-7
    assert abs(float(srgb_slope(torch.tensor(1.0))) - 2.4 / 1.055) < 1e-6
    x = torch.linspace(0, 1, 33, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(linear_from_srgb(x).sum(), x)
    assert torch.allclose(srgb_slope(x.detach()), gradient, atol=1e-12)


def test_an_even_colour_is_even_everywhere():
    points, faces = sheet()
    uv = disk_chart(points, faces)
    grey = np.full((len(points), 3), 0.5)
    mean, basis = uv_albedo(grey, grey[None].repeat(23, axis=0) * 0.1, uv, faces, faces)
    inside = slice(MEAN_SIZE // 2, MEAN_SIZE // 2 + 4)  # the philtrum: skin
    assert mean.shape == (MEAN_SIZE, MEAN_SIZE, 3)
    assert np.abs(mean[inside, inside] - 0.2140).max() < 1e-3
    assert basis.shape == (23, BASIS_SIZE, BASIS_SIZE, 3)
    slope = 2.4 / 1.055 * ((0.5 + 0.055) / 1.055) ** 1.4
    middle = basis[:, BASIS_SIZE // 2, BASIS_SIZE // 2].astype(np.float64)
    assert np.abs(middle - 0.05 * slope).max() < 1e-3


def test_first_order_is_the_curve_for_small_steps():
    points, faces = sheet()
    uv = disk_chart(points, faces)
    rng = np.random.default_rng(0)
    colour = 0.4 + 0.2 * np.cos(points.numpy() @ rng.normal(size=(3, 3)) / 60)
    mode = 0.01 * np.cos(points.numpy() @ rng.normal(size=(3, 3)) / 60)
    mean, basis = uv_albedo(colour, mode[None], uv, faces, faces)
    moved, _ = uv_albedo(colour + mode, mode[None], uv, faces, faces)
    change = (moved - mean)[1::2, 1::2]
    there = mean[1::2, 1::2].sum(axis=2) > 0
    assert np.median(np.abs(change - basis[0])[there]) < 2e-4


def test_no_modes():
    points, faces = sheet()
    grey = np.full((len(points), 3), 0.5)
    _, basis = uv_albedo(grey, np.zeros((0, *grey.shape)), disk_chart(points, faces), faces, faces)
    assert basis.shape == (0, BASIS_SIZE, BASIS_SIZE, 3)


def test_fill_takes_the_nearest_inside():
    maps = torch.zeros(1, 1, 5, 1)
    maps[0, 0, :, 0] = torch.tensor([0.0, 0.0, 7.0, 9.0, 0.0])
    mask = torch.tensor([[False, False, True, True, False]])
    assert filled(maps, mask)[0, 0, :, 0].tolist() == [7.0, 7.0, 7.0, 9.0, 9.0]


def test_raster_covers_the_chart():
    model = small_model()
    mask = chart_raster(model, 64).mask
    assert 0.5 < float(mask.float().mean()) < 1.0
