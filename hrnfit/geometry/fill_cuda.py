"""The fill of maps by kernels of our own: `map_fill.fill` without a guide, in 20 launches and two per sweep of the
largest levels, where plain torch takes 3,500. Imported only where a CUDA device is used.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.geometry import fill_kernels as kernels
from hrnfit.geometry.launched import blocks, width_of

ONE_PROGRAM = 64 * 64
"""Texels up to which one program takes all sweeps of a level: 40 of them then cost 0.1 ms, the launches 0.2."""


def device_fill(
    values: Float[Tensor, "H W K"],
    known: Bool[Tensor, "H W"],
    used: Bool[Tensor, "H W"],
    sweeps: int,
    pace: float,
) -> Float[Tensor, "H W K"]:
    """Known texels unchanged, the other used ones filled, 0 off the chart. Allocates 4/3 of two maps."""
    return _filled(
        values.contiguous(), (known & used).to(torch.int8), used.to(torch.int8), sweeps, pace
    )


def _filled(values: Tensor, known: Tensor, used: Tensor, sweeps: int, pace: float) -> Tensor:
    H, W, K = values.shape
    out, block = torch.empty_like(values), width_of(128)
    if max(H, W) <= 2:
        weight = known.to(values)[..., None]
        weighted = torch.where(weight > 0, values, 0.0)
        mean = weighted.sum((0, 1)) / weight.sum().clamp_min(1.0)
        out = torch.where(weight > 0, values, mean) * used[..., None]
    else:
        h, w = -(-H // 2), -(-W // 2)
        coarse = values.new_empty(h, w, K)
        masks = known.new_empty(2, h, w)
        kernels.halve[blocks(h * w, block)](
            values, known, used, coarse, masks[0], masks[1], H, W, h, w, K=K, BLOCK=block
        )
        coarse = _filled(coarse, masks[0], masks[1], sweeps, pace)
        kernels.begin[blocks(H * W, block)](
            values, known, used, coarse, masks[1], out, H, W, h, w, K=K, BLOCK=block
        )
    _relax(out, known, used, sweeps, pace)
    return out


def _relax(maps: Tensor, known: Tensor, used: Tensor, sweeps: int, pace: float) -> None:
    """Red-black sweeps in place."""
    H, W, K = maps.shape
    half = H * ((W + 1) // 2)
    if H * W <= ONE_PROGRAM:
        width = width_of(1024)
        kernels.sweeps[(1,)](maps, known, used, H, W, pace, sweeps, K=K, BLOCK=width, num_warps=16)
        return
    block = width_of(128)
    for _ in range(sweeps):
        for colour in range(2):
            kernels.sweep[blocks(half, block)](
                maps, known, used, H, W, pace, colour, K=K, BLOCK=block
            )
