"""Small charts and surfaces for the released maps."""

from __future__ import annotations

from collections.abc import Callable

import torch

from hrnfit.model.deformation import DeformationOperator, deformation_operator
from hrnfit.nets.released import Released
from hrnfit.render.texture import uv_raster


def no_map(offsets: torch.Tensor) -> torch.Tensor:
    """Stands where a test converts no deformation."""
    raise AssertionError("no deformation map was asked for")


def sheet(rows: int, columns: int, margin: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Chart (v down) of a grid of vertices, and its triangles, which appear counter-clockwise."""
    v, u = torch.meshgrid(
        torch.linspace(margin, 1.0 - margin, rows, dtype=torch.float64),
        torch.linspace(margin, 1.0 - margin, columns, dtype=torch.float64),
        indexing="ij",
    )
    index = torch.arange(rows * columns).reshape(rows, columns)
    p, r, b, c = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = torch.stack([torch.stack([p, b, r], -1), torch.stack([r, b, c], -1)], -2)
    return torch.stack([u, v], -1).reshape(-1, 2), faces.reshape(-1, 3).int()


def jittered(uv: torch.Tensor, by: float, generator: torch.Generator) -> torch.Tensor:
    """The chart with its places moved at random."""
    return uv + by * (torch.rand(uv.shape, generator=generator, dtype=uv.dtype) - 0.5)


def released(
    uv: torch.Tensor,
    faces: torch.Tensor,
    size: int,
    fit_map: Callable[[torch.Tensor], torch.Tensor] = no_map,
) -> Released:
    """The adapter of a chart with maps of `size` texels."""
    raster = uv_raster(uv, faces, faces, size, size)
    return Released.of(raster.triangle, raster.barycentric, faces, uv, faces, fit_map)


def operator(uv: torch.Tensor, faces: torch.Tensor, size: int) -> DeformationOperator:
    """Our own sampling of a deformation map on the chart."""
    return deformation_operator(faces, uv, faces, len(uv), size)
