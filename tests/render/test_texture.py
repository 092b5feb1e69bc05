"""UV raster, dilation and texel visibility."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.texture import dilate, texel_visibility, uv_interpolate, uv_raster
from tests.render.scenes import sphere

SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)


def test_uv_coordinates_come_back_as_texel_centres():
    raster = uv_raster(SQUARE, FACES, FACES, 3, 5)
    got = uv_interpolate(SQUARE, raster)
    x, y = (torch.arange(5) + 0.5) / 5, (torch.arange(3) + 0.5) / 3
    assert raster.mask.all()
    assert torch.allclose(got[..., 0], x.expand(3, 5))
    assert torch.allclose(got[..., 1], y[:, None].expand(3, 5))


def test_position_faces_differ_from_uv_faces_and_batches_follow(generator):
    other = torch.tensor([[3, 2, 1], [3, 1, 0]], dtype=torch.int32)
    raster = uv_raster(0.5 * SQUARE, FACES, other, 8, 8)
    vertices = torch.randn(2, 3, 4, 2, generator=generator)
    got = uv_interpolate(vertices, raster)
    assert got.shape == (2, 3, 8, 8, 2)
    assert torch.allclose(got[1, 2], uv_interpolate(vertices[1, 2], raster))
    assert int(raster.mask.sum()) == 16
    assert not got[..., ~raster.mask, :].any()
    texel = got[0, 0, 0, 0]  # centre (1/16, 1/16) of a chart half as wide: (1/8, 1/8)
    corners = vertices[0, 0, [3, 2, 1]]
    assert torch.allclose(texel, 0.875 * corners[0] + 0.0 * corners[1] + 0.125 * corners[2])


def test_gradient_and_error(generator):
    raster = uv_raster(SQUARE.double(), FACES, FACES, 4, 4)
    vertices = torch.randn(2, 4, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v: uv_interpolate(v, raster), vertices)
    with pytest.raises(ValueError, match="uv_faces: expected the shape"):
        inspect.unwrap(uv_raster)(SQUARE, FACES[:1], FACES, 4, 4)


def test_dilation_copies_the_nearest_texel_as_far_as_told():
    texture = torch.zeros(1, 6, 1)
    texture[0, 2], texture[0, 0] = 5.0, 9.0
    mask = torch.zeros(1, 6, dtype=torch.bool)
    mask[0, 2] = True
    assert dilate(texture, mask, 2).flatten().tolist() == [5, 5, 5, 5, 5, 0]
    assert torch.equal(dilate(texture, ~mask & mask, 2), texture)


def test_back_and_hidden_texels_are_not_visible():
    """A sphere seen from the front, half of it behind a card."""
    unit, faces = sphere(40, torch.float32)
    n = len(unit)
    card = torch.tensor([[-0.1, -2, -3], [3, -2, -3], [3, 2, -3], [-0.1, 2, -3]])
    body = torch.cat([unit, card])
    both = torch.cat([faces, FACES + n])
    points = torch.stack([body[:, 0] * 40 + 64, body[:, 1] * 40 + 64, 300 + 40 * body[:, 2]], -1)[
        None
    ]
    polar, azimuth = torch.meshgrid(torch.arange(40) / 39, torch.arange(81) / 80, indexing="ij")
    uv = torch.stack([azimuth, polar], -1).reshape(-1, 2)
    seam = faces.clone()
    row, column = seam // 80, seam % 80
    wraps = ((column.amax(1) - column.amin(1)) > 40)[:, None] & (column == 0)
    uv_faces = (row * 81 + torch.where(wraps, 80, column)).int()
    chart = uv_raster(uv, uv_faces, faces, 64, 128)
    raster = CpuRasterizer().rasterize(points, both, 128, 128)
    visible = texel_visibility(points, raster, chart)[0]
    where = uv_interpolate(unit, chart)
    front, left = where[..., 2] < -0.1, where[..., 0] < -0.15
    assert visible[chart.mask & front & left].float().mean() > 0.99
    assert not visible[chart.mask & (where[..., 2] > 0.1)].any()
    assert not visible[chart.mask & (where[..., 0] > 0.0)].any()
