"""Albedo of models that colour vertices: sRGB to linear light, and vertices to texels of the chart.

The fit wants an albedo that is affine in its coefficients, in linear light. A basis of sRGB colours is
affine in sRGB, so it is carried over to first order at its mean: mean to linear, modes times the slope
of the curve there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.io.image import linear_from_srgb
from hrnfit.model.linear import LinearFaceModel
from hrnfit.render.texture import UvRaster, dilate, uv_interpolate, uv_raster

MEAN_SIZE = 512
"""Texels per side of the mean map."""

BASIS_SIZE = 256
"""Texels per side of the modes: 35,709 vertices give no more than one colour per 1.5 of them."""


def srgb_slope(encoded: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Derivative of linear light in the sRGB value 0..1 (IEC 61966-2-1)."""
    power = 2.4 / 1.055 * ((encoded.clamp_min(0.04045) + 0.055) / 1.055) ** 1.4
    return torch.where(encoded <= 0.04045, torch.full_like(encoded, 1.0 / 12.92), power)


def with_vertex_albedo(
    model: LinearFaceModel,
    mean: Float[np.ndarray, "N 3"],
    modes: Float[np.ndarray, "A N 3"],
    mean_size: int = MEAN_SIZE,
    basis_size: int = BASIS_SIZE,
) -> LinearFaceModel:
    """The model with an albedo of colours at its vertices, sRGB 0..1 and per standard deviation.

    Texels outside the chart take the nearest colour inside, so that filters meet no black.
    """
    encoded = torch.from_numpy(np.ascontiguousarray(mean, dtype=np.float32)).clamp(0.0, 1.0)
    linear = torch.from_numpy(np.ascontiguousarray(modes, dtype=np.float32)) * srgb_slope(encoded)
    fine, coarse = (chart_raster(model, size) for size in (mean_size, basis_size))
    basis = uv_interpolate(linear, coarse) if len(linear) else linear.new_zeros(0, 1, 1, 3)
    return replace(
        model,
        albedo_mean=filled(uv_interpolate(linear_from_srgb(encoded)[None], fine), fine.mask)[0],
        albedo_basis=filled(basis, coarse.mask) if len(linear) else basis,
    )


def chart_raster(model: LinearFaceModel, size: int) -> UvRaster:
    """The model's chart at size x size texels."""
    return uv_raster(model.uv, model.uv_faces, model.faces, size, size)


def filled(maps: Float[Tensor, "K H W C"], mask: Bool[Tensor, "H W"]) -> Float[Tensor, "K H W C"]:
    """Maps whose texels outside the mask take the nearest inside; one search for all of them."""
    index = torch.arange(mask.numel()).reshape(*mask.shape, 1)
    nearest = dilate(index.double(), mask, sum(mask.shape))[..., 0].long()
    return maps.flatten(1, 2)[:, nearest.flatten()].reshape(maps.shape)
