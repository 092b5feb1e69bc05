"""One displacement map from the maps of several views, with a confidence, and a fill where none saw.

A view that does not see a texel has weight zero there and does not dilute it. Everything is a pure
function of maps in UV; who sees what is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.geometry.map_fill import fill

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
