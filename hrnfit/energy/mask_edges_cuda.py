"""`contour.mask_edges` on CUDA: the same edges without the host, but for the choice between equally near ones.

Memory: about 60 bytes per pixel while it runs.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.energy import mask_edge_kernels
from hrnfit.energy.contour import MaskEdges
from hrnfit.energy.filters import gaussian_weights
from hrnfit.geometry.launched import blocks, width_of

TRUNCATE = 4.0
"""Reach of the Gaussian in standard deviations, as scipy has it."""


def cuda_mask_edges(
    masks: Float[Tensor, "V S S"], inside: Bool[Tensor, "V S S"], blur: float
) -> MaskEdges:
    """See `contour.mask_edges`."""
    within = masks > 0.5
    edge = within & ~_all_around(within)
    beside = ~_all_around(inside)
    smooth = _blurred(masks, blur)
    down, across = torch.gradient(smooth, dim=(1, 2))
    slope = torch.stack((across, down), -1)
    steep = slope.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    normal = -slope / steep
    size = masks.shape[-1]
    axis = torch.arange(size, device=masks.device, dtype=masks.dtype) + 0.5
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    point = torch.stack((u, v), -1) + ((smooth[..., None] - 0.5) / steep).clamp(-1, 1) * normal
    at = nearest_marked(edge).flatten(1)
    there = (at >= 0).view(masks.shape)
    flat = at.clamp_min(0).long()
    pairs = flat[..., None].expand(-1, -1, 2)
    counts = (edge & ~beside).flatten(1).gather(1, flat).view(masks.shape)
    zero = torch.zeros((), dtype=masks.dtype, device=masks.device)
    return MaskEdges(
        torch.where(there[..., None], point.flatten(1, 2).gather(1, pairs).view_as(point), zero),
        torch.where(there[..., None], normal.flatten(1, 2).gather(1, pairs).view_as(point), zero),
        there & counts & inside,
    )


def nearest_marked(marked: Bool[Tensor, "V S S"]) -> Int[Tensor, "V S S"]:
    """Flat index, row * S + column, of the marked pixel nearest to each; -1 in a view without any."""
    size = marked.shape[-1]
    row = torch.arange(size, dtype=torch.int32, device=marked.device)[:, None]
    far = 4 * size
    above = torch.where(marked, row, -far).cummax(1).values
    below = torch.where(marked, row, far).flip(1).cummin(1).values.flip(1)
    near = torch.where(row - above <= below - row, above, below)
    rows = torch.where((near >= 0) & (near < size), near, -1).int().contiguous()
    out = torch.empty_like(rows)
    block = width_of(128)
    if out.numel():
        mask_edge_kernels.nearest[(len(marked) * size, *blocks(size, block))](
            rows, out, size, BLOCK=block
        )
    return out


def _all_around(marked: Bool[Tensor, "V S S"]) -> Bool[Tensor, "V S S"]:
    """Pixels that are marked together with their four neighbours; none at the window's border."""
    out = torch.zeros_like(marked)
    out[:, 1:-1, 1:-1] = (
        marked[:, 1:-1, 1:-1]
        & marked[:, :-2, 1:-1]
        & marked[:, 2:, 1:-1]
        & marked[:, 1:-1, :-2]
        & marked[:, 1:-1, 2:]
    )
    return out


def _blurred(masks: Float[Tensor, "V S S"], sigma: float) -> Float[Tensor, "V S S"]:
    """Gaussian blur, the border repeated outside."""
    radius = int(TRUNCATE * sigma + 0.5)
    weights = gaussian_weights(sigma, radius, masks.dtype, masks.device)
    padded = torch.nn.functional.pad(masks[:, None], (radius,) * 4, mode="replicate")[:, 0]
    along = padded.unfold(2, 2 * radius + 1, 1) @ weights
    return along.unfold(1, 2 * radius + 1, 1) @ weights
