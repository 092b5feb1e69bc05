"""A flat square before the analyzer's camera: everything about its maps can be computed by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hrnfit.infer.own_maps import OwnMaps
from hrnfit.model.linear import LinearFaceModel
from tests.model.faces import small_model

SQUARE_UV = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
FACES = torch.tensor([[0, 2, 1], [0, 3, 2]], dtype=torch.int32)
"""Counter-clockwise seen from +z when v runs down."""

SCALE = 1015.0 / 10.0 / 224.0
"""Share of the picture per decimetre at depth 10."""


def square(half: float = 0.5, z: float = 0.0) -> Tensor:
    """Corners (4, 3) of a square about the origin, decimetres; texel (u, v) lies at
    ((2 u - 1) half, (1 - 2 v) half)."""
    x, y = 2 * SQUARE_UV[:, 0] - 1, 1 - 2 * SQUARE_UV[:, 1]
    return torch.stack([half * x, half * y, torch.full((4,), z)], dim=1)


def flat_model() -> LinearFaceModel:
    """Topology of `square`, its chart the whole map."""
    return replace(small_model(), faces=FACES, uv=SQUARE_UV, uv_faces=FACES)


def flat_maps(size: int = 32, deformation: int = 8) -> OwnMaps:
    return OwnMaps.of(flat_model(), size, deformation)


def card_model() -> LinearFaceModel:
    """Two squares, the first in the left half of the chart, the second in the right."""
    left, right = SQUARE_UV * torch.tensor([0.5, 1.0]), SQUARE_UV * torch.tensor([0.5, 1.0])
    uv = torch.cat([left, right + torch.tensor([0.5, 0.0])])
    faces = torch.cat([FACES, FACES + 4])
    return replace(small_model(), faces=faces, uv=uv, uv_faces=faces)


def card_before_wall() -> Tensor:
    """A wall of 1.2 dm at depth 10 and a card of 0.4 dm, 1 dm before it."""
    return torch.cat([square(0.6), square(0.2, z=1.0)])


def centres(size: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """u and v of the texels, each (size, size)."""
    at = (torch.arange(size, dtype=dtype) + 0.5) / size
    v, u = torch.meshgrid(at, at, indexing="ij")
    return u, v


def ramps(side: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A picture (3, side, side): x, y, and one half; x and y run from 0 to 1 over the picture."""
    x, y = centres(side, dtype)
    return torch.stack([x, y, torch.full_like(x, 0.5)])
