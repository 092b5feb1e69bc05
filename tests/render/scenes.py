"""Small scenes: closed spheres that occlude each other, and the frame-by-frame render under test."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hrnfit.render.rasterizer import Raster, Rasterizer
from hrnfit.render.shade import safe_normalize, shade


def sphere(n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Unit sphere of n rings and 2 n meridians with open poles, faces outward."""
    polar = torch.linspace(0.02, math.pi - 0.02, n, dtype=dtype)
    azimuth = torch.arange(2 * n, dtype=dtype) * (math.pi / n)
    t, p = torch.meshgrid(polar, azimuth, indexing="ij")
    vertices = torch.stack([t.sin() * p.cos(), t.cos(), t.sin() * p.sin()], -1).reshape(-1, 3)
    i, j = torch.arange(n - 1)[:, None], torch.arange(2 * n)[None]
    a, b = i * 2 * n + j, i * 2 * n + (j + 1) % (2 * n)
    c, d = a + 2 * n, b + 2 * n
    first, second = torch.stack([a, b, c], -1), torch.stack([b, d, c], -1)
    return vertices, torch.cat([first.reshape(-1, 3), second.reshape(-1, 3)]).int()


def two_spheres(
    n: int, size: int, views: int = 2, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Pixel points (V, N, 3) and faces of a sphere with a smaller one before its edge."""
    unit, faces = sphere(n, dtype)
    big = unit * torch.tensor([0.35 * size, 0.35 * size, 100.0], dtype=dtype)
    small = unit * torch.tensor([0.14 * size, 0.14 * size, 40.0], dtype=dtype)
    middle = torch.tensor([size / 2 + 0.13, size / 2 + 0.27, 300.0], dtype=dtype)
    corner = torch.tensor([size * 0.3 + 0.11, size * 0.3 + 0.07, 170.0], dtype=dtype)
    points = torch.cat([big + middle, small + corner])
    shift = torch.tensor([0.37, -0.21, 3.0], dtype=dtype)
    stacked = torch.stack([points + k * shift for k in range(views)])
    return stacked, torch.cat([faces, faces + len(unit)])


def render(
    backend: Rasterizer,
    points: Tensor,
    normals: Tensor,
    uv: Tensor,
    texture: Tensor,
    light: Tensor,
    faces: Tensor,
    size: int,
) -> tuple[Tensor, Raster]:
    """The whole chain: rasterize, interpolate, texture, shade, antialias."""
    raster = backend.rasterize(points, faces, size, size)
    albedo = backend.sample_texture(texture, backend.interpolate(uv, raster, faces))
    shading = shade(safe_normalize(backend.interpolate(normals, raster, faces)), light)
    seen = (raster.triangle >= 0)[..., None]
    image = torch.where(seen, albedo * shading, 0.1)
    return backend.antialias(image, raster, points, faces), raster


def relative(a: Tensor, b: Tensor) -> float:
    """Norm of the difference over the norm of the second."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm())
