"""One displacement map from the maps of several views, with a confidence, and a fill where none saw.

A view that does not see a texel has weight zero there and does not dilute it. Everything is a pure
function of maps in UV; who sees what is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

OVER_RELAXATION = 1.8
"""Factor of successive over-relaxation in the fill, between 1 (Gauss-Seidel) and 2 (unstable). With 40
sweeps a hole of 30 texels is right to 5e-5 of the map's deviation (1.0: 1e-2), one of 100 to 1.4 %."""

SINGLE_VIEW = 0.7
"""Confidence in a texel that one view sees straight on; more views raise it towards 1."""


@dataclass(frozen=True)
class FusedDisplacement:
    """One map of all views."""

    displacement: Float[Tensor, "H W"]
    """mm along the mid normal; filled smoothly where no view sees."""
    confidence: Float[Tensor, "H W"]
    """0..1; 0 where filled."""


def view_weights(
    visible: Float[Tensor, "V H W"],
    cosine: Float[Tensor, "V H W"],
    power: float = 2.0,
    grazing: float = 0.2,
) -> Float[Tensor, "V H W"]:
    """Weight 0..1 of each view at each texel, from visibility and the cosine between normal and view.

    0 up to the `grazing` cosine (78 degrees), where a texel is stretched over a fifth of a pixel or
    less, then the remaining cosine to a power.
    """
    facing = ((cosine - grazing) / (1.0 - grazing)).clamp(0.0, 1.0)
    return visible.clamp(0.0, 1.0) * facing**power


def fuse(
    maps: Float[Tensor, "V H W"],
    weights: Float[Tensor, "V H W"],
    used: Bool[Tensor, "H W"],
    agreement: float = 0.3,
    guide: Float[Tensor, "H W C"] | None = None,
    edge_scale: float = 1.0,
) -> FusedDisplacement:
    """Robust weighted mean where any view sees, smooth fill elsewhere on the chart, 0 off the chart.

    `agreement`: mm by which views may differ; beyond, outliers lose weight and confidence falls.
    `guide` (e.g. positions in UV, mm) keeps the fill from running across its edges of `edge_scale`.
    """
    if maps.shape != weights.shape:
        raise ValueError(
            f"fuse: maps {tuple(maps.shape)} and weights {tuple(weights.shape)} must have one shape; "
            "give one map per view (repeat shared maps by their sharing index)"
        )
    mean, spread = robust_mean(maps, weights, agreement)
    trust = view_confidence(weights) / (1.0 + (spread / agreement).square())
    seen = (weights.sum(0) > 0) & used
    trust = torch.where(seen, trust, torch.zeros_like(trust))
    filled = fill(mean, seen, used, guide, edge_scale)
    return FusedDisplacement(filled, trust)


def robust_mean(
    maps: Float[Tensor, "V H W"], weights: Float[Tensor, "V H W"], agreement: float, steps: int = 3
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Weighted mean over views and weighted standard deviation; reweighted `steps` times by Cauchy's
    w / (1 + (d / agreement)^2), so that one wrong view among several loses its say.

    A texel that one view sees keeps that view's value; equal maps keep theirs; 0 where none sees.
    """
    # what a view holds where it sees nothing may be NaN
    maps = torch.where(weights > 0, maps, torch.zeros_like(maps))
    mean = _weighted_mean(maps, weights)
    for _ in range(steps):
        off = ((maps - mean) / agreement).square()
        mean = _weighted_mean(maps, weights / (1.0 + off))
    variance = _weighted_mean((maps - mean).square(), weights)
    return mean, variance.clamp_min(0.0).sqrt()


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over views; 0 where no view has weight."""
    mass = weights.sum(0)
    # shares first: with w * v / w a single view's value would come back rounded
    share = weights / torch.where(mass > 0, mass, torch.ones_like(mass))
    return (share * values).sum(0)


def view_confidence(weights: Float[Tensor, "V H W"]) -> Float[Tensor, "H W"]:
    """1 - product of (1 - 0.7 w): grows with every view that sees the texel, never reaches 1."""
    return 1.0 - (1.0 - SINGLE_VIEW * weights).prod(0)


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
    rows, columns = _grid(used)
    colour = ((rows + columns) % 2 == 0).flatten()
    free = (used & ~known).flatten()
    halves = [(free & colour).nonzero()[:, 0], (free & ~colour).nonzero()[:, 0]]
    # gathered once: in every sweep it took two thirds of the time
    halves = [(half, neighbours[half], share[half][..., None]) for half in halves if len(half)]
    for _ in range(sweeps):
        for half, around, conduct in halves:
            mean = (conduct * start[around]).sum(1)
            start.index_copy_(0, half, torch.lerp(start[half], mean, OVER_RELAXATION))
    filled = start.reshape(values.shape)
    return torch.where(used[..., None], filled, torch.zeros_like(filled))


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
