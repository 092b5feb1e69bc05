"""Work over many texels of many views in pieces, so that what it needs besides its result stays bounded.

The size of a piece is a constant, whatever memory is free, until there is too little of it (`fit/fallback.py`): an eighth
then, and sums run in another order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from torch import Tensor

AT_ONCE = 2**21
"""Texels times views in a piece. Reading texels takes 200 bytes for each, so 0.4 GB; a rig of 9 views at 512 x 512
texels is one piece, and smaller pieces cost launches."""
PIXELS_AT_ONCE = 2**23
"""Pixels or chart texels times views, in a piece of whole views: 100 bytes for each, so 0.8 GB. A rig of 8 windows of
1024 px is one piece."""


class _Share(threading.local):
    parts = 1
    """Of a piece; 8 in small pieces."""


_share = _Share()


@contextmanager
def in_small_pieces() -> Generator[None]:
    """Within it this thread's pieces are an eighth: for a device that is short of memory."""
    before, _share.parts = _share.parts, 8
    try:
        yield
    finally:
        _share.parts = before


def pieces(views: int, count: int, at_once: int | None = None) -> list[slice]:
    """Ranges of `count` items such that each times `views` is at most `at_once` (`AT_ONCE`), of equal length but
    the last; at least one item each."""
    allowed = (AT_ONCE if at_once is None else at_once) // _share.parts
    most = max(1, allowed // max(views, 1))
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
