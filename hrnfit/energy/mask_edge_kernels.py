"""Triton: the nearest marked pixel of each pixel, exactly, given the nearest one in every column.

Of all columns the one wins where the squared distance (along the row) plus (along the column) is least; the first
of equals. Costs the width of the window per pixel: 0.7 Gop for five views of 512 px.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def nearest(rows, out, size, BLOCK: tl.constexpr):
    """rows (V S, S): row of the nearest marked pixel in this pixel's column, -1 without any. Writes its flat index
    in the view, or -1."""
    line = tl.program_id(0).to(tl.int64)
    row = (line % size).to(tl.int32)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    best = 0 * column + 0x7FFFFFFF
    found = 0 * column - 1
    c = 0
    while c < size:
        r = tl.load(rows + line * size + c)
        distance = (column - c) * (column - c) + (r - row) * (r - row)
        better = (r >= 0) & (distance < best)
        best = tl.where(better, distance, best)
        found = tl.where(better, r * size + c, found)
        c += 1
    tl.store(out + line * size + column, found, mask=column < size)
