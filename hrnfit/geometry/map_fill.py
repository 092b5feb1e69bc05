"""Maps over a chart continued where nothing is known: Laplace's equation between what is.

Solved from coarse to fine (cascadic multigrid, Bornemann & Deuflhard 1996). The CPU relaxes what is
unknown only, other devices every texel, in shapes that do not depend on it (`whole_fill.py`), or, without a
guide, by kernels of our own (`fill_cuda.py`).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from hrnfit.geometry.device_kernels import underived
from hrnfit.geometry.whole_fill import relaxed_whole

OVER_RELAXATION = 1.8
"""Factor of successive over-relaxation in the fill, between 1 (Gauss-Seidel) and 2 (unstable). With 40
sweeps a hole of 30 texels is right to 5e-5 of the map's deviation (1.0: 1e-2), one of 100 to 1.4 %."""

MOST_CHANNELS = 8
"""Channels that kernels of our own take: each is written out in their code."""


def fill(
    values: Float[Tensor, "H W *K"],
    known: Bool[Tensor, "H W"],
    used: Bool[Tensor, "H W"],
    guide: Float[Tensor, "H W C"] | None = None,
    edge_scale: float = 1.0,
    sweeps: int = 40,
) -> Float[Tensor, "H W *K"]:
    """Known texels unchanged; the other used ones by Laplace's equation between them; 0 off the chart.

    Neumann at the chart's border, so holes (eyes, mouth) do not leak. Solved from coarse to fine
    (cascadic multigrid, Bornemann & Deuflhard 1996): each level starts from the one of half the size and
    takes `sweeps` of red-black relaxation. With a guide, neighbours conduct
    exp(-|difference|^2 / edge_scale^2) (Perona & Malik 1990). 0 everywhere when nothing is known.
    """
    channels = values.reshape(*used.shape, -1)
    if guide is None and channels.shape[2] <= MOST_CHANNELS and underived(values):
        from hrnfit.geometry.fill_cuda import device_fill  # local: triton

        filled = device_fill(channels, known, used, sweeps, OVER_RELAXATION)
        return filled.reshape(values.shape)
    return _filled(channels, known, used, guide, edge_scale, sweeps).reshape(values.shape)


def _filled(
    values: Float[Tensor, "H W K"],
    known: Tensor,
    used: Tensor,
    guide: Tensor | None,
    edge_scale: float,
    sweeps: int,
) -> Float[Tensor, "H W K"]:
    """`fill` of maps with a channel axis."""
    held = (known & used)[..., None]
    start = _coarser_fill(values, known & used, used, guide, edge_scale, sweeps)
    start = torch.where(held, values, start).flatten(0, 1)
    neighbours, share = _stencils(used, guide, edge_scale, values)
    free = (used & ~known).flatten()
    if start.device.type == "cpu":
        start = _relaxed(start, neighbours, share, free, used, sweeps)
    else:
        width = used.shape[1]
        start = relaxed_whole(start, neighbours, share, free, width, sweeps, OVER_RELAXATION)
    filled = start.reshape(values.shape)
    return torch.where(used[..., None], filled, torch.zeros_like(filled))


def _relaxed(
    start: Float[Tensor, "P K"],
    neighbours: Tensor,
    share: Tensor,
    free: Tensor,
    used: Tensor,
    sweeps: int,
) -> Float[Tensor, "P K"]:
    """Red-black sweeps over the free texels, gathered."""
    rows, columns = _grid(used)
    colour = ((rows + columns) % 2 == 0).flatten()
    halves = [(free & colour).nonzero()[:, 0], (free & ~colour).nonzero()[:, 0]]
    # gathered once: in every sweep it took two thirds of the time
    halves = [(half, neighbours[half], share[half][..., None]) for half in halves if len(half)]
    for _ in range(sweeps):
        for half, around, conduct in halves:
            mean = (conduct * start[around]).sum(1)
            start.index_copy_(0, half, torch.lerp(start[half], mean, OVER_RELAXATION))
    return start


def _coarser_fill(
    values: Float[Tensor, "H W K"],
    known: Tensor,
    used: Tensor,
    guide: Tensor | None,
    edge_scale: float,
    sweeps: int,
) -> Float[Tensor, "H W K"]:
    """The fill at half the size, from means of what is known in each cell, brought back up."""
    height, width = known.shape
    weight = known.to(values.dtype)[..., None]
    weighted = torch.where(known[..., None], values, torch.zeros_like(values))
    if max(height, width) <= 2:
        mean = weighted.sum((0, 1)) / weight.sum().clamp_min(1.0)
        return mean.expand(height, width, -1)
    mass = _halve(weight)
    mean = _halve(weighted) / torch.where(mass > 0, mass, torch.ones_like(mass))
    cell_used = _halve(used.to(values.dtype)[..., None])[..., 0] > 0
    if guide is not None:
        guide = _halve(guide)
    coarse = _filled(mean, mass[..., 0] > 0, cell_used, guide, edge_scale, sweeps)
    # texels off the chart are 0 there: share of the chart in each cell divides them out again
    inside = cell_used.to(values.dtype)[..., None]
    stacked = torch.cat((coarse, inside), dim=-1).movedim(-1, 0)[None]
    up = interpolate(stacked, size=(height, width), mode="bilinear", align_corners=False)[0]
    up = up.movedim(0, -1)
    part = up[..., -1:]
    return up[..., :-1] / torch.where(part > 0, part, torch.ones_like(part))


def _halve(values: Float[Tensor, "H W K"]) -> Float[Tensor, "h w K"]:
    """Means over cells of 2 x 2; odd borders over what there is."""
    cell = (min(2, values.shape[0]), min(2, values.shape[1]))
    return avg_pool2d(values.movedim(-1, 0), cell, ceil_mode=True).movedim(0, -1)


def _grid(like: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each texel."""
    rows, columns = (torch.arange(n, device=like.device) for n in like.shape)
    return rows[:, None].expand(like.shape), columns[None, :].expand(like.shape)


def _stencils(
    used: Tensor, guide: Tensor | None, scale: float, like: Tensor
) -> tuple[Tensor, Tensor]:
    """The four neighbours of each texel, (H*W, 4), and their share of its mean.

    Neighbours off the chart have share 0; a texel without any keeps its own value.
    """
    height, width = used.shape
    rows, columns = _grid(used)
    index, conductance = [], []
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        row, column = rows + down, columns + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
        conduct = (inside & used[row, column]).to(like.dtype)
        if guide is not None:
            squared = (guide[row, column] - guide).square().sum(-1) / scale**2
            # a floor keeps every texel of the chart connected, or the unknown would be undetermined
            conduct = conduct * (-squared).exp().clamp_min(1e-4)
        index.append((row * width + column).flatten())
        conductance.append(conduct.flatten())
    neighbours, share = torch.stack(index, 1), torch.stack(conductance, 1)
    alone = share.sum(1) == 0
    own = torch.arange(height * width, device=used.device)[:, None]
    neighbours = torch.where(alone[:, None], own, neighbours)
    share = torch.where(alone[:, None], torch.ones_like(share), share)
    return neighbours, share / share.sum(1, keepdim=True)
