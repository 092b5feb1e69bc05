"""Relaxation of `map_fill` over all texels of each colour of the checkerboard, known ones with a step of 0.

Shapes do not depend on what is known, so a GPU needs no word from its host and the whole fill can be
recorded. The two colours are kept apart, each as one list: a texel of flat index i stands at i // 2 of
its colour, whatever the width.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def relaxed_whole(
    start: Float[Tensor, "P K"],
    neighbours: Int[Tensor, "P 4"],
    share: Float[Tensor, "P 4"],
    free: Bool[Tensor, "P"],
    width: int,
    sweeps: int,
    pace: float,
) -> Float[Tensor, "P K"]:
    """`start` after sweeps of red-black over-relaxation by `pace`; texels that are not free keep theirs.

    P texels in rows of `width`. Allocates about 24 + 4 K numbers per texel.
    """
    if len(start) < 2:
        return start
    places = _colours(len(start), width, start.device)
    own = [start[place] for place in places]
    sides = [
        (
            # a neighbour across the border stands for the texel itself: share 0, but still an index
            torch.div(neighbours[place], 2, rounding_mode="floor").clamp_max(len(other) - 1),
            share[place][..., None],
            (pace * free[place].to(start))[:, None],
        )
        for place, other in zip(places, reversed(places), strict=True)
    ]
    for _ in range(sweeps):
        for mine, (around, conduct, step) in enumerate(sides):
            mean = (conduct * own[1 - mine][around]).sum(1)
            own[mine] = torch.lerp(own[mine], mean, step)
    joined = torch.zeros_like(start)
    for place, values in zip(places, own, strict=True):
        joined = joined.index_copy(0, place, values)
    return joined


def _colours(count: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Flat indices of the texels with an even and with an odd sum of row and column, each in order."""
    if width % 2:
        return torch.arange(0, count, 2, device=device), torch.arange(1, count, 2, device=device)
    pair = torch.arange(0, count, 2, device=device)
    odd_row = torch.div(pair, width, rounding_mode="floor") % 2
    return pair + odd_row, pair + 1 - odd_row
