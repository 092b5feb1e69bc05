"""From colours at vertices to albedo maps: rasterised in the chart, made linear to first order.

Colours of morphable models are sRGB, an albedo map is linear RGB and affine in its coefficients: the
mean goes through the sRGB curve, each mode is multiplied by the curve's derivative at the mean.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.io.image import linear_from_srgb
from hrnfit.render.texture import UvRaster, dilate, uv_interpolate, uv_raster

MEAN_SIZE, BASIS_SIZE = 512, 256
"""Texels per side of the mean and of the modes. Vertices of the densest models lie 1.3 mm apart, a
texel of the smaller map is 1 mm: modes, which are smooth, lose nothing."""

AT_ONCE = 20
"""Modes rasterised together: 16 MB."""

FILL = 16
"""Texels filled around the chart, so that filtering at its border meets skin."""


def uv_albedo(
    mean_srgb: Float[np.ndarray, "N 3"],
    basis_srgb: Float[np.ndarray, "A N 3"],
    uv: Float[Tensor, "Nuv 2"],
    uv_faces: Int[Tensor, "F 3"],
    faces: Int[Tensor, "F 3"],
) -> tuple[Float[np.ndarray, "512 512 3"], Float[np.ndarray, "A 256 256 3"]]:
    """Mean map (linear RGB) and modes (linear RGB per standard deviation).

    `mean_srgb`: sRGB in 0..1. `basis_srgb`: per standard deviation, in the same unit. The modes are
    float16, which is how our file keeps them: 199 of them are 78 MB.
    """
    mean = torch.from_numpy(np.clip(mean_srgb, 0.0, 1.0).astype(np.float32))
    linear = linear_from_srgb(mean)
    fine = uv_raster(uv, uv_faces, faces, MEAN_SIZE, MEAN_SIZE)
    mean_map = _map(linear, fine).numpy()
    coarse = uv_raster(uv, uv_faces, faces, BASIS_SIZE, BASIS_SIZE)
    slope = srgb_slope(mean)
    basis = np.zeros((len(basis_srgb), BASIS_SIZE, BASIS_SIZE, 3), dtype=np.float16)
    for first in range(0, len(basis_srgb), AT_ONCE):
        modes = torch.from_numpy(basis_srgb[first : first + AT_ONCE].astype(np.float32)) * slope
        maps = _map(modes.permute(1, 0, 2).flatten(1), coarse).unflatten(2, (len(modes), 3))
        basis[first : first + AT_ONCE] = maps.permute(2, 0, 1, 3).numpy()
    return mean_map, basis


def srgb_slope(srgb: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Derivative of the linear value by the sRGB value (IEC 61966-2-1)."""
    curve = 2.4 / 1.055 * ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 1.4
    return torch.where(srgb <= 0.04045, torch.full_like(srgb, 1.0 / 12.92), curve)


def _map(colours: Float[Tensor, "N C"], raster: UvRaster) -> Float[Tensor, "H W C"]:
    """Vertex colours in the chart, and somewhat beyond it."""
    return dilate(uv_interpolate(colours, raster), raster.mask, FILL)
