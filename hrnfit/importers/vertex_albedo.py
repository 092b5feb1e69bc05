"""From colours at vertices to albedo maps: rasterised in the chart, made linear to first order.

The fit wants an albedo in linear light that is affine in its coefficients. Colours of morphable models
are sRGB: the mean goes through the sRGB curve, each mode is multiplied by the curve's slope there.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.io.image import linear_from_srgb
from hrnfit.model.linear import LinearFaceModel
from hrnfit.render.texture import UvRaster, dilate, uv_interpolate, uv_raster

MEAN_SIZE, BASIS_SIZE = 512, 256
"""Texels per side of the mean and of the modes. Vertices of the densest models lie 1.3 mm apart, a
texel of the smaller map is 1 mm: modes, which are smooth, lose nothing."""

AT_ONCE = 20
"""Modes rasterised together: 16 MB."""


def uv_albedo(
    mean_srgb: Float[np.ndarray, "N 3"],
    basis_srgb: Float[np.ndarray, "A N 3"],
    uv: Float[Tensor, "Nuv 2"],
    uv_faces: Int[Tensor, "F 3"],
    faces: Int[Tensor, "F 3"],
) -> tuple[Float[np.ndarray, "512 512 3"], Float[np.ndarray, "A 256 256 3"]]:
    """Mean map (linear RGB) and modes (linear RGB per standard deviation).

    `mean_srgb`: sRGB in 0..1. `basis_srgb`: per standard deviation, in the same unit. The modes are
    float16, which is how our file keeps them: 199 of them are 78 MB. Texels outside the chart take the
    nearest colour inside, so that filters meet no black.
    """
    encoded = torch.from_numpy(np.clip(mean_srgb, 0.0, 1.0).astype(np.float32))
    fine = uv_raster(uv, uv_faces, faces, MEAN_SIZE, MEAN_SIZE)
    mean = filled(uv_interpolate(linear_from_srgb(encoded)[None], fine), fine.mask)[0]
    coarse = uv_raster(uv, uv_faces, faces, BASIS_SIZE, BASIS_SIZE)
    slope = srgb_slope(encoded)
    basis = np.zeros((len(basis_srgb), BASIS_SIZE, BASIS_SIZE, 3), dtype=np.float16)
    for first in range(0, len(basis_srgb), AT_ONCE):
        modes = torch.from_numpy(basis_srgb[first : first + AT_ONCE].astype(np.float32)) * slope
        maps = filled(uv_interpolate(modes, coarse), coarse.mask)
        basis[first : first + AT_ONCE] = maps.numpy()
    return mean.numpy(), basis


def srgb_slope(encoded: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Derivative of linear light by the sRGB value in 0..1 (IEC 61966-2-1)."""
    power = 2.4 / 1.055 * ((encoded.clamp_min(0.04045) + 0.055) / 1.055) ** 1.4
    return torch.where(encoded <= 0.04045, torch.full_like(encoded, 1.0 / 12.92), power)


def chart_raster(model: LinearFaceModel, size: int) -> UvRaster:
    """The model's chart at size x size texels."""
    return uv_raster(model.uv, model.uv_faces, model.faces, size, size)


def filled(maps: Float[Tensor, "K H W C"], mask: Bool[Tensor, "H W"]) -> Float[Tensor, "K H W C"]:
    """Maps whose texels outside the mask take the nearest inside; one search for all of them."""
    index = torch.arange(mask.numel()).reshape(*mask.shape, 1)
    nearest = dilate(index.double(), mask, sum(mask.shape))[..., 0].long()
    return maps.flatten(1, 2)[:, nearest.flatten()].reshape(maps.shape)
