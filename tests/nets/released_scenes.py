"""Small charts and surfaces for the released maps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from hrnfit.model.deformation import DeformationOperator, deformation_operator
from hrnfit.nets.released import Released
from hrnfit.render.normal_integration import displacement_from_normals
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


def ellipsoid(mirrored: bool, turn: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Chart, outward triangles and vertices, dm, of the front of an ellipsoid of a head's size.

    170 degrees of longitude and 130 of latitude; u runs along +x, mirrored along -x. turn: about y, rad.
    """
    uv, faces = sheet(100, 100, margin=0.03)
    longitude = (uv[:, 0] - 0.5) * math.radians(-170.0 if mirrored else 170.0)
    latitude = (0.5 - uv[:, 1]) * math.radians(130.0)
    x, y = 0.75 * latitude.cos() * longitude.sin(), 1.05 * latitude.sin()
    z = 0.95 * latitude.cos() * longitude.cos()
    c, s = math.cos(turn), math.sin(turn)
    vertices = torch.stack([c * x + s * z, y, c * z - s * x], -1)
    return uv, faces.flip(1) if mirrored else faces, vertices


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
    return Released.of(
        raster.triangle, raster.barycentric, faces, uv, faces, fit_map, displacement_from_normals
    )


def operator(uv: torch.Tensor, faces: torch.Tensor, size: int) -> DeformationOperator:
    """Our own sampling of a deformation map on the chart."""
    return deformation_operator(faces, uv, faces, len(uv), size)
