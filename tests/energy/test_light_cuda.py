"""The kernels of the light field against plain torch: in Triton's interpreter, or on a device."""

from __future__ import annotations

import os

import pytest
import torch
from torch.nn.functional import normalize

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from hrnfit.energy import light_cuda
from hrnfit.energy import light_field as module
from hrnfit.energy.light_cuda import MOST_VIEWS, has_light, light_field_cuda
from hrnfit.energy.light_field import RIDGE, light_field
from hrnfit.energy.shared_albedo import TexelViews
from hrnfit.energy.texels import Texels
from hrnfit.geometry.rotation import rotation_exp

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
S, P = 22, 300


def scene(views: int) -> tuple[TexelViews, torch.Tensor, torch.Tensor, torch.Tensor, Texels]:
    """Texels of two frames, seen in views under lights of their own, some of them hidden."""
    generator = torch.Generator().manual_seed(views)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    weight = random(views, P).clamp_min(0.0)
    weight[:, :5] = 0.0
    weight[1:, 5:10] = 0.0
    normals = normalize(random(2, P, 3), dim=-1)
    motion = torch.cat([rotation_exp(0.3 * random(views, 3)), random(views, 3, 1)], dim=-1)
    colour = random(P, 3) + 0.4 * random(views, 1, 3) + 0.2 * random(views, P, 3)
    colour = colour + normals[torch.arange(views) % 2] @ random(views, 3, 3)
    flat = torch.randperm(S * S, generator=generator)[:P]
    corners = torch.zeros(P, 3, dtype=torch.int64)
    raster = Texels(corners.to(DEVICE), corners.float().to(DEVICE), flat.to(DEVICE), S)
    seen = TexelViews(colour.to(DEVICE), colour.new_zeros(views, P, 3, 3), weight.to(DEVICE))
    return seen, normals.to(DEVICE), torch.arange(views) % 2, motion.to(DEVICE), raster


@pytest.mark.parametrize(
    ("views", "sigma", "most", "programs"),
    [
        (2, 0.1, 12_000, 128),
        (3, 0.1, 12_000, 2),  # several stretches of texels for each
        (3, 0.1, 100, 128),  # every third texel alone
        (5, 0.3, 12_000, 128),
        (14, 0.1, 100, 2),
    ],
)
def test_the_field_of_kernels_is_that_of_torch(monkeypatch, views, sigma, most, programs):
    monkeypatch.setattr(module, "MOST_TEXELS", most)
    monkeypatch.setattr(light_cuda, "PROGRAMS", programs)
    seen, normals, frame, motion, raster = scene(views)
    in_cameras = normals[frame] @ motion[:, :, :3].mT
    theirs = light_field(seen, in_cameras, raster, sigma, 0.6)
    mine = light_field_cuda(
        seen, normals, frame.to(DEVICE), motion, raster, sigma, 0.6, RIDGE, most
    )
    assert float(theirs.abs().max()) > 0.5
    assert torch.allclose(mine, theirs, atol=1e-4)


def test_more_views_than_the_kernels_take_are_left_to_torch():
    assert has_light(scene(MOST_VIEWS)[0])
    assert not has_light(scene(MOST_VIEWS + 1)[0])
