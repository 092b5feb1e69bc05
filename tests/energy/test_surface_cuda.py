"""The kernels of the surface at texels against plain torch: in Triton's interpreter, or on a device."""

from __future__ import annotations

import os

import pytest
import torch
from torch.nn.functional import normalize

from hrnfit.energy import skin_plain
from hrnfit.energy.texels import Texels

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from hrnfit.energy.surface_cuda import slopes_along, surface_at

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
V, P, N, S = 3, 50, 20, 16
FRAME, ROW = torch.tensor([0, 1, 0], device=DEVICE), torch.tensor([1, 0, 1], device=DEVICE)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(DEVICE)


def texels() -> Texels:
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(N, (P, 3), generator=generator)
    weights = normalize(torch.rand(P, 3, generator=generator), p=1.0)
    flat = torch.randperm(S * S, generator=generator)[:P]
    return Texels(corners.to(DEVICE), weights.to(DEVICE), flat.to(DEVICE), S)


@pytest.mark.parametrize("nodes", [None, 8, 32])
def test_points_and_normals_are_those_of_torch(nodes):
    from hrnfit.fit.skin_place import row_heights  # local: this module sets the interpreter first

    vertices, directions, raster = random(2, N, 3), random(2, N, 3), texels()
    heights = None if nodes is None else random(2, nodes, nodes)
    head, normals = surface_at(vertices, directions, raster, heights, FRAME, ROW)
    expected, points = (
        normalize(raster.interpolate(directions), dim=-1),
        raster.interpolate(vertices),
    )
    if heights is not None:
        expected = expected[FRAME]
        points = points[FRAME] + row_heights(heights, raster)[ROW][..., None] * expected
    assert torch.allclose(normals, expected, atol=1e-6)
    assert torch.allclose(head, points, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2])
def test_slopes_along_normals_are_those_of_torch(k):
    args = (random(V, P, 3, 3), random(2, P, 3), FRAME, random(k, k).double(), ROW.clamp_max(k - 1))
    mine, theirs = slopes_along(*args), skin_plain.slopes_along(*args)
    assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-5)
