"""The renderer contract: four operations on plain tensors, the same in every backend.

Points are already in pixels with camera depth, so a backend knows nothing of cameras. Barycentrics
are perspective-correct. Pixel (0, 0) is the corner of the top-left pixel, centres lie at +0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Raster:
    """Which triangle each pixel centre sees."""

    triangle: Int[Tensor, "V H W"]
    """Triangle index, int32; -1 where nothing is hit."""
    barycentric: Float[Tensor, "V H W 3"]
    """Perspective-correct weights of the triangle's corners, differentiable in the points; 0 outside."""
    depth: Float[Tensor, "V H W"]
    """Camera depth, mm, not differentiable; +inf outside."""


@runtime_checkable
class Rasterizer(Protocol):
    """Backend: `reference`, `cpu`, `cuda`, `nvdiffrast`."""

    def rasterize(
        self, points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"], height: int, width: int
    ) -> Raster:
        """Nearest triangle per pixel. `points`: x, y in px and camera depth in mm."""
        ...

    def interpolate(
        self, attributes: Float[Tensor, "*V N C"], raster: Raster, faces: Int[Tensor, "F 3"]
    ) -> Float[Tensor, "V H W C"]:
        """Corner attributes at the pixels, (N, C) shared or (V, N, C) per view; 0 outside."""
        ...

    def sample_texture(
        self, texture: Float[Tensor, "*V H W C"], uv: Float[Tensor, "V h w 2"]
    ) -> Float[Tensor, "V h w C"]:
        """Bilinear texture look-up, texel centres at (i + 0.5) / size, clamped at the border."""
        ...

    def antialias(
        self,
        image: Float[Tensor, "V H W C"],
        raster: Raster,
        points: Float[Tensor, "V N 3"],
        faces: Int[Tensor, "F 3"],
    ) -> Float[Tensor, "V H W C"]:
        """Blend across silhouettes by their sub-pixel position: the only silhouette gradient."""
        ...
