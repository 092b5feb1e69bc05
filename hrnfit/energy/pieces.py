"""Work over many texels of many views in pieces, so that what it needs besides its result stays bounded.

The size of a piece is a constant: results do not depend on how much memory happens to be free.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

AT_ONCE = 2**21
"""Texels times views, or pixels times views, in a piece. Reading texels takes 200 bytes for each, so 0.4 GB; a rig
of 9 views at 512 x 512 texels is one piece, and smaller pieces cost launches."""


def pieces(views: int, count: int) -> list[slice]:
    """Ranges of `count` items such that each times `views` is at most `AT_ONCE`, of equal length but the last."""
    most = max(1, AT_ONCE // max(views, 1))
    number = max(1, -(-count // most))
    length = max(1, -(-count // number))
    return [slice(i, min(i + length, count)) for i in range(0, max(count, 1), length)]


def by_pieces(
    function: Callable[[slice], tuple[Tensor, ...]],
    ranges: list[slice],
    dims: tuple[int, ...],
    count: int,
) -> tuple[Tensor, ...]:
    """Tensors of all items from those of each range.

    dims: along which each tensor counts the items. One range is computed as it is; of several each is written
    into the whole, so that no two copies of it exist.
    """
    first = function(ranges[0])
    if len(ranges) == 1:
        return first
    whole = tuple(
        part.new_empty(*part.shape[:dim], count, *part.shape[dim + 1 :])
        for part, dim in zip(first, dims, strict=True)
    )
    for i, at in enumerate(ranges):
        parts = function(at) if i else first
        first = ()
        for into, part, dim in zip(whole, parts, dims, strict=True):
            into.narrow(dim, at.start, at.stop - at.start).copy_(part)
    return whole
