"""One map from the maps that a network made of several views: weighted means, and a fill where none saw.

The released code takes plain means of masked maps, so that a texel which one of N views shows starts at
1/N of its value. Here a view without weight has no say.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from hrnfit.geometry.map_fill import fill

FADE = 1 / 8
"""Distance from the nearest seen texel at which the fill has fallen to exp(-1), share of the map: some
25 mm on a face whose chart fills the map."""


class MergedMap(NamedTuple):
    """One map of all views."""

    values: Float[Tensor, "H W C"]
    weight: Float[Tensor, "H W"]
    """Sum over views; 0 where filled."""


def merge_maps(maps: Float[Tensor, "V H W C"], weights: Float[Tensor, "V H W"]) -> MergedMap:
    """Mean over views by their weights (at least 0), such as `MapConvention.valid_mask`.

    Where no view has weight: what is seen continued by Laplace's equation times exp(-(d / FADE)^2) with d
    the distance to it, so that offsets vanish far from any evidence. 0 everywhere when nothing is seen.
    What a view holds where its weight is 0 does not matter, NaN included. Differentiable in both.
    ValueError when maps and weights do not belong together.
    """
    if maps.shape[:3] != weights.shape:
        raise ValueError(
            f"merge_maps: expected weights {tuple(maps.shape[:3])} for maps {tuple(maps.shape)}, got "
            f"{tuple(weights.shape)}; give one weight per view and texel"
        )
    if bool((weights < 0).any()):
        raise ValueError("merge_maps: weights must be at least 0; clamp them first")
    mass = weights.sum(0)
    seen = mass > 0
    # shares first: with w * v / w a single view's value would come back rounded
    share = (weights / torch.where(seen, mass, torch.ones_like(mass)))[..., None]
    mean = (share * torch.where(weights[..., None] > 0, maps, torch.zeros_like(maps))).sum(0)
    filled = fill(mean, seen, torch.ones_like(seen)) * _fading(seen).to(mean)[..., None]
    return MergedMap(torch.where(seen[..., None], mean, filled), mass)


def _fading(seen: Tensor) -> Float[Tensor, "H W"]:
    """1 at seen texels, falling with the distance to them; 0 when there are none."""
    if not bool(seen.any()):
        return torch.zeros(seen.shape)
    distance: Any = distance_transform_edt(~seen.cpu().numpy())
    return torch.exp(-torch.from_numpy(distance / (FADE * max(seen.shape))).square()).to(
        seen.device
    )
