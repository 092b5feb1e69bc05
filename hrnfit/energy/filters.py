"""Gaussian blur, 3 widths to each side, and Sobel slopes of image planes.

kornia's on the CPU. It copies its kernels from the host, which a recording of a CUDA graph forbids, and convolves in
TF32 on a CUDA device, so there plain sums over shifted planes.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def gaussian_blur(
    planes: Float[Tensor, "V C H W"], width: float, border: Literal["reflect", "constant"]
) -> Float[Tensor, "V C H W"]:
    """width: standard deviation, px. border: what lies outside, the mirror image or zero."""
    if planes.device.type == "cuda":
        return separable_blur(planes, width, border)
    from kornia.filters import gaussian_blur2d  # local: 0.2 s

    taps = 2 * round(3 * width) + 1
    return gaussian_blur2d(planes, (taps, taps), (width, width), border_type=border)


def slopes(planes: Float[Tensor, "V C H W"]) -> Float[Tensor, "V C 2 H W"]:
    """Derivatives along x and y per px, borders repeated."""
    if planes.device.type == "cuda":
        return plain_slopes(planes)
    from kornia.filters import spatial_gradient  # local: 0.2 s

    return spatial_gradient(planes)


def plain_slopes(planes: Float[Tensor, "V C H W"]) -> Float[Tensor, "V C 2 H W"]:
    """The same in plain torch, for any device."""
    padded = torch.nn.functional.pad(planes, (1, 1, 1, 1), mode="replicate")
    across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
    x = across[..., :-2, :] + 2.0 * across[..., 1:-1, :] + across[..., 2:, :]
    y = down[..., :-2] + 2.0 * down[..., 1:-1] + down[..., 2:]
    return torch.stack([x, y], dim=2) / 8.0


def separable_blur(
    planes: Float[Tensor, "V C H W"], width: float, border: Literal["reflect", "constant"]
) -> Float[Tensor, "V C H W"]:
    """The same in plain torch, for any device, sums in the order of the taps."""
    reach = round(3 * width)
    kernel = gaussian_weights(width, reach, planes.dtype, planes.device)
    padded = torch.nn.functional.pad(planes, (reach, reach, reach, reach), mode=border)
    H, W = planes.shape[-2:]
    rows = torch.zeros_like(padded[..., :H, :])
    for i in range(2 * reach + 1):
        rows += kernel[i] * padded[..., i : i + H, :]
    out = torch.zeros_like(planes)
    for i in range(2 * reach + 1):
        out += kernel[i] * rows[..., i : i + W]
    return out


def gaussian_weights(
    width: float, reach: int, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "t"]:
    """Of the taps from -reach to reach, their sum 1; width: standard deviation in taps."""
    at = torch.arange(-reach, reach + 1, dtype=dtype, device=device)
    weights = torch.exp(-(at**2) / (2.0 * width**2))
    return weights / weights.sum()
