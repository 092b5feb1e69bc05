"""Diffuse shading by nine spherical harmonics, linear light.

The basis is real, ordered (l, m) = (0,0), (1,-1), (1,0), (1,1), (2,-2), (2,-1), (2,0), (2,1), (2,2),
and carries the clamped-cosine kernel (pi, 2 pi / 3, pi / 4 for l = 0, 1, 2; Ramamoorthi and
Hanrahan 2001, "An efficient representation for irradiance environment maps", eq. 8), divided so
that the constant term is 1. A light of 1 in row 0 and 0 elsewhere therefore shades every normal
with 1. In these units a unit vector d of a distant lamp has coefficients `light_from_direction(d)`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.device_kernels import has_kernels, underived

# Kernel ratio A_l / A_0 times the constant of Y_lm over that of Y_00 (1 / (2 sqrt(pi))).
LINEAR = 2.0 / 3.0 * math.sqrt(3.0)
PRODUCT = 1.0 / 4.0 * math.sqrt(15.0)
ZONAL = 1.0 / 4.0 * math.sqrt(5.0) / 2.0
DIFFERENCE = 1.0 / 4.0 * math.sqrt(15.0) / 2.0


def safe_normalize(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """Unit vectors; zero stays zero, with a zero gradient."""
    compiled = _compiled(vectors)
    if compiled is None:
        return plain_normalize(vectors)
    return compiled.Normalize.apply(vectors.reshape(-1, 3).contiguous()).reshape(vectors.shape)


def plain_normalize(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """`safe_normalize` in plain torch, for any device."""
    square = (vectors * vectors).sum(-1, keepdim=True)
    tiny = square <= torch.finfo(vectors.dtype).tiny
    scale = torch.rsqrt(torch.where(tiny, 1.0, square))
    return vectors * torch.where(tiny, 0.0, scale)


def sh_basis(normals: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 9"]:
    """The nine basis values at unit normals; module docstring for order and scale."""
    if underived(normals) and normals.numel():
        from hrnfit.render.cuda_shade import basis  # local: Triton

        return basis(normals, (LINEAR, PRODUCT, ZONAL, DIFFERENCE))
    return plain_basis(normals)


def plain_basis(normals: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 9"]:
    """`sh_basis` in plain torch, for any device."""
    x, y, z = normals.unbind(-1)
    return torch.stack(
        [
            torch.ones_like(x),
            LINEAR * y,
            LINEAR * z,
            LINEAR * x,
            PRODUCT * x * y,
            PRODUCT * y * z,
            ZONAL * (3.0 * z * z - 1.0),
            PRODUCT * x * z,
            DIFFERENCE * (x * x - y * y),
        ],
        dim=-1,
    )


def light_from_direction(direction: Float[Tensor, "3"]) -> Float[Tensor, "9"]:
    """White distant lamp towards unit `direction` that would shade a facing plane with 1.

    Nine terms give 1/4 + 1/2 + 5/16 = 1.0625 instead of 1 at the facing normal, the known error of
    cutting the clamped cosine off at degree two.
    """
    a_0 = 0.25  # mean of the clamped cosine over the sphere
    kernel = sh_basis(direction) * a_0
    # Y_lm(d) without the kernel ratio that sh_basis carries: ratios are 2/3 and 1/4.
    ratio = direction.new_tensor([1.0] + [1.5] * 3 + [4.0] * 5)
    return kernel * ratio


def shade(
    normals: Float[Tensor, "*B 3"], light: Float[Tensor, "9 3"] | Float[Tensor, "V 9 3"]
) -> Float[Tensor, "*B 3"]:
    """Irradiance, linear RGB, of unit normals under one light or one light per first-axis entry.

    Normals and light stand in the same frame.
    """
    if light.ndim == 3 and len(light) == 1:
        light = light[0]
    if light.ndim == 3 and (normals.ndim < 2 or len(light) != len(normals)):
        raise ValueError(
            f"light: expected (9, 3) or one per view of {tuple(normals.shape)}, "
            f"got {tuple(light.shape)}"
        )
    compiled = _compiled(normals)
    if compiled is not None and normals.dtype == light.dtype:
        lights = light if light.ndim == 3 else light[None]
        flat, lights = normals.reshape(len(lights), -1, 3).contiguous(), lights.contiguous()
        constants = (LINEAR, PRODUCT, ZONAL, DIFFERENCE)
        return compiled.Shade.apply(flat, lights, constants).reshape(normals.shape)
    if light.ndim == 2:
        return sh_basis(normals) @ light
    return plain_shade(normals.reshape(len(light), -1, 3), light).reshape(normals.shape)


def plain_shade(
    normals: Float[Tensor, "V P 3"], light: Float[Tensor, "V 9 3"]
) -> Float[Tensor, "V P 3"]:
    """Irradiance of each view's normals under its light, in plain torch."""
    return torch.bmm(sh_basis(normals), light)


def _compiled(tensor: Tensor) -> Any:
    """The module of compiled loops that take this tensor, or None."""
    if tensor.dtype not in (torch.float32, torch.float64) or tensor.numel() == 0:
        return None
    if tensor.device.type == "cpu":
        from hrnfit.render import cpu_shade  # local: numba

        return cpu_shade
    if has_kernels(tensor.device):
        from hrnfit.render import cuda_shade  # local: Triton

        return cuda_shade
    return None
