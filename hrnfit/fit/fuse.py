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
    values: Float[Tensor, "H W"],
    known: Bool[Tensor, "H W"],
    used: Bool[Tensor, "H W"],
    guide: Float[Tensor, "H W C"] | None = None,
    edge_scale: float = 1.0,
    sweeps: int = 100,
) -> Float[Tensor, "H W"]:
    """Known texels unchanged; the other used ones by Laplace's equation between them; 0 off the chart.

    Neumann at the chart's border, so holes (eyes, mouth) do not leak. A pyramid (push-pull, Gortler et
    al. 1996) gives the far field, red-black relaxation the near one. With a guide, neighbours conduct
    exp(-|difference|^2 / edge_scale^2) (Perona & Malik 1990). 0 everywhere when nothing is known.
    """
    start = torch.where(known, values, torch.zeros_like(values))
    start = torch.where(known, start, push_pull(start, known & used))
    start = torch.where(used, start, torch.zeros_like(start))
    conduct_u, conduct_v = _conductance(used, guide, edge_scale, values.dtype)
    free = used & ~known
    rows, columns = torch.meshgrid(
        *(torch.arange(n, device=values.device) for n in values.shape), indexing="ij"
    )
    colour = (rows + columns) % 2 == 0
    # over-relaxation: 1.8 takes a 30-texel hole to 1e-3 of its depth in 100 sweeps, 1.0 takes 600
    for _ in range(sweeps):
        for half in (free & colour, free & ~colour):
            around, mass = _neighbours(start, conduct_u, conduct_v)
            target = torch.where(mass > 0, around / mass.clamp_min(1e-12), start)
            start = torch.where(half, start + 1.8 * (target - start), start)
    return start


def _conductance(
    used: Tensor, guide: Tensor | None, scale: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Between each texel and its right, and its lower, neighbour; 0 off the chart."""
    conduct_u = (used[:, :-1] & used[:, 1:]).to(dtype)
    conduct_v = (used[:-1] & used[1:]).to(dtype)
    if guide is not None:
        along_u = (guide[:, 1:] - guide[:, :-1]).square().sum(-1) / scale**2
        along_v = (guide[1:] - guide[:-1]).square().sum(-1) / scale**2
        # a floor keeps every texel of the chart connected, or the unknown would be undetermined
        conduct_u = conduct_u * (-along_u).exp().clamp_min(1e-4)
        conduct_v = conduct_v * (-along_v).exp().clamp_min(1e-4)
    return conduct_u, conduct_v


def _neighbours(values: Tensor, conduct_u: Tensor, conduct_v: Tensor) -> tuple[Tensor, Tensor]:
    """Conductance-weighted sum of the four neighbours, and the conductances' sum."""
    around, mass = torch.zeros_like(values), torch.zeros_like(values)
    around[:, :-1] += conduct_u * values[:, 1:]
    around[:, 1:] += conduct_u * values[:, :-1]
    around[:-1] += conduct_v * values[1:]
    around[1:] += conduct_v * values[:-1]
    mass[:, :-1] += conduct_u
    mass[:, 1:] += conduct_u
    mass[:-1] += conduct_v
    mass[1:] += conduct_v
    return around, mass


def push_pull(values: Float[Tensor, "H W"], known: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Means of the known values over ever larger cells, pulled back where finer cells know nothing."""
    weight = known.to(values.dtype)[None, None]
    return _push_pull(values[None, None] * weight, weight)[0, 0]


def _push_pull(weighted: Tensor, weight: Tensor) -> Tensor:
    """One level; (1, 1, h, w) sums and weights."""
    mean = weighted / weight.clamp_min(1e-12)
    height, width = weight.shape[-2:]
    if max(height, width) == 1:
        return torch.where(weight > 0, mean, torch.zeros_like(mean))
    cell = (min(2, height), min(2, width))
    coarse = _push_pull(
        avg_pool2d(weighted, cell, ceil_mode=True), avg_pool2d(weight, cell, ceil_mode=True)
    )
    pulled = interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return torch.where(weight > 0, mean, pulled)
