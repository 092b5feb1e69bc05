"""The texels of a model's chart as a list of surface points, and a list laid back into a UV square."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from hrnfit.geometry.kept import kept_with
from hrnfit.model.face_model import FaceModel
from hrnfit.render.texture import uv_raster


@dataclass(frozen=True)
class Texels:
    """P texel centres inside the chart of a square of `size` texels."""

    corners: Int[Tensor, "P 3"]
    """Vertices of each texel's triangle, int64."""
    barycentric: Float[Tensor, "P 3"]
    flat: Int[Tensor, "P"]
    """Row * size + column, int64."""
    size: int

    @staticmethod
    def of(model: FaceModel, size: int) -> Texels:
        """Every texel of the chart at a resolution; rasterised once by the caller."""
        raster = uv_raster(model.uv, model.uv_faces, model.faces, size, size)
        flat = raster.mask.flatten().nonzero()[:, 0]
        triangle = raster.triangle.flatten()[flat].long()
        barycentric = raster.barycentric.flatten(0, 1)[flat]
        return Texels(model.faces.long()[triangle], barycentric, flat, size)

    def only(self, rows: Int[Tensor, "K"]) -> Texels:
        """Some of the texels."""
        return Texels(self.corners[rows], self.barycentric[rows], self.flat[rows], self.size)

    def interpolate(self, values: Float[Tensor, "*B N C"]) -> Float[Tensor, "*B P C"]:
        """Vertex values at the texels."""
        weights = self.barycentric.to(values)
        picked = [values[..., self.corners[:, k], :] * weights[:, k, None] for k in range(3)]
        return picked[0] + picked[1] + picked[2]

    def square(self, values: Shaped[Tensor, "P *C"]) -> Shaped[Tensor, "S S *C"]:
        """The list laid out in UV, zero (or False) outside the chart."""
        out = values.new_zeros(self.size**2, *values.shape[1:])
        out[self.flat] = values
        return out.view(self.size, self.size, *values.shape[1:])

    @property
    def places(self) -> Int[Tensor, "S S"]:
        """Which texel stands where in the square, -1 outside the chart; int32, made once."""

        def made() -> Tensor:
            out = self.flat.new_full((self.size**2,), -1, dtype=torch.int32)
            order = torch.arange(len(self.flat), dtype=torch.int32, device=out.device)
            return out.index_copy(0, self.flat, order).view(self.size, self.size)

        return kept_with(self.flat, ("texel places", self.size), made)

    def centres(self) -> Float[Tensor, "P 2"]:
        """UV of the texels."""
        row = torch.div(self.flat, self.size, rounding_mode="floor")
        column = self.flat - row * self.size
        return (torch.stack([column, row], dim=1) + 0.5) / self.size
