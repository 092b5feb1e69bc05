"""Triton kernels of the rasteriser: the z-buffer.

The laws are those of `cpu_kernels`, and so is the arithmetic: edges and barycentrics in float64, every edge from
its lower vertex index, no fused multiply-add where coverage is decided. A pixel's z-buffer entry is one 64-bit
integer, (complement of the bits of 1 / z, triangle), whose atomic minimum is the nearest triangle, then the lowest
index, whatever the order of the threads.

A triangle with at most `SMALL` pixel centres in its bounding box is drawn by the lane that meets it. The others
are queued with the number of `CHUNK`-pixel pieces of their boxes, and a fixed number of programs share all pieces
evenly: no triangle, however large, keeps one lane busy. One 64-bit counter counts pieces (high half) and queued
triangles (low half), so the queue is sorted by first piece, and a program finds its place by bisection.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel

EMPTY = 0x7FFFFFFFFFFFFFFF
"""A z-buffer entry that no triangle has reached."""


@kernel
def corners_of(points, faces, view, f, inside, vertices):
    """Corner indices and coordinates, float64, of triangles of one view; zeros where not `inside`."""
    i0 = tl.load(faces + 3 * f, mask=inside, other=0)
    i1 = tl.load(faces + 3 * f + 1, mask=inside, other=0)
    i2 = tl.load(faces + 3 * f + 2, mask=inside, other=0)
    base = points + 3 * vertices * view.to(tl.int64)
    x0 = tl.load(base + 3 * i0, mask=inside, other=0.0).to(tl.float64)
    y0 = tl.load(base + 3 * i0 + 1, mask=inside, other=0.0).to(tl.float64)
    z0 = tl.load(base + 3 * i0 + 2, mask=inside, other=0.0).to(tl.float64)
    x1 = tl.load(base + 3 * i1, mask=inside, other=0.0).to(tl.float64)
    y1 = tl.load(base + 3 * i1 + 1, mask=inside, other=0.0).to(tl.float64)
    z1 = tl.load(base + 3 * i1 + 2, mask=inside, other=0.0).to(tl.float64)
    x2 = tl.load(base + 3 * i2, mask=inside, other=0.0).to(tl.float64)
    y2 = tl.load(base + 3 * i2 + 1, mask=inside, other=0.0).to(tl.float64)
    z2 = tl.load(base + 3 * i2 + 2, mask=inside, other=0.0).to(tl.float64)
    return i0, i1, i2, x0, y0, z0, x1, y1, z1, x2, y2, z2


@kernel
def _edge(a, xa, ya, b, xb, yb, inward):
    """Base point, direction and sign of the edge function that is >= 0 inside, from the lower index."""
    swap = a > b
    x, y = tl.where(swap, xb, xa), tl.where(swap, yb, ya)
    dx, dy = tl.where(swap, xa, xb) - x, tl.where(swap, ya, yb) - y
    return x, y, dx, dy, tl.where(swap, inward, -inward)


@kernel
def _setup(points, faces, view, f, inside, vertices, height, width):
    """All that drawing needs of triangles: box (0 pixels for one that cannot be drawn), edges, depths."""
    i0, i1, i2, x0, y0, z0, x1, y1, z1, x2, y2, z2 = corners_of(
        points, faces, view, f, inside, vertices
    )
    left = tl.maximum(tl.ceil(tl.minimum(tl.minimum(x0, x1), x2) - 0.5), 0.0)
    top = tl.maximum(tl.ceil(tl.minimum(tl.minimum(y0, y1), y2) - 0.5), 0.0)
    right = tl.minimum(tl.floor(tl.maximum(tl.maximum(x0, x1), x2) - 0.5), width - 1.0)
    bottom = tl.minimum(tl.floor(tl.maximum(tl.maximum(y0, y1), y2) - 0.5), height - 1.0)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    infinity = float("inf")
    # comparisons are false for nan, and an infinite corner makes the area infinite or nan
    usable = (area != 0) & (tl.abs(area) < infinity) & (left <= right) & (top <= bottom)
    usable = usable & (z0 > 0) & (z1 > 0) & (z2 > 0)
    usable = usable & (z0 < infinity) & (z1 < infinity) & (z2 < infinity)
    columns = tl.where(usable, right - left + 1, 0.0).to(tl.int32)
    rows = tl.where(usable, bottom - top + 1, 0.0).to(tl.int32)
    left, top = tl.where(usable, left, 0.0).to(tl.int32), tl.where(usable, top, 0.0).to(tl.int32)
    inward = tl.where(area > 0, 1.0, -1.0).to(tl.float64)
    ax, ay, adx, ady, sa = _edge(i1, x1, y1, i2, x2, y2, inward)
    bx, by, bdx, bdy, sb = _edge(i2, x2, y2, i0, x0, y0, inward)
    cx, cy, cdx, cdy, sc = _edge(i0, x0, y0, i1, x1, y1, inward)
    # the three edge functions sum to the area: 1 / z needs no division per pixel
    scale = 1.0 / tl.abs(tl.where(usable, area, 1.0))
    k0 = scale / tl.where(usable, z0, 1.0)
    k1 = scale / tl.where(usable, z1, 1.0)
    k2 = scale / tl.where(usable, z2, 1.0)
    return (
        left, top, columns, rows,
        ax, ay, adx, ady, sa, bx, by, bdx, bdy, sb, cx, cy, cdx, cdy, sc, k0, k1, k2,
    )  # fmt: skip


@kernel
def _draw(
    keys, f, column, row, inside, width,
    ax, ay, adx, ady, sa, bx, by, bdx, bdy, sb, cx, cy, cdx, cdy, sc, k0, k1, k2,
):  # fmt: skip
    """Enter the pixels (column, row) of one view that the triangles cover."""
    x, y = column.to(tl.float64) + 0.5, row.to(tl.float64) + 0.5
    w0 = sa * ((x - ax) * ady - (y - ay) * adx)
    w1 = sb * ((x - bx) * bdy - (y - by) * bdx)
    w2 = sc * ((x - cx) * cdy - (y - cy) * cdx)
    inverse = (w0 * k0 + w1 * k1 + w2 * k2).to(tl.float32)
    hit = inside & (w0 >= 0) & (w1 >= 0) & (w2 >= 0) & (inverse > 0)
    order = (0x7FFFFFFF - inverse.to(tl.int32, bitcast=True)).to(tl.int64)
    pixel = row.to(tl.int64) * width + column
    tl.atomic_min(keys + pixel, (order << 32) | f.to(tl.int64), mask=hit, sem="relaxed")


@kernel
def draw_small(
    points, faces, keys, counter, first_piece, queued, triangles, vertices, height, width,
    SMALL: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Draw the small triangles of a view, one per lane, and queue the others."""
    view = tl.program_id(1)
    f = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    (
        left, top, columns, rows,
        ax, ay, adx, ady, sa, bx, by, bdx, bdy, sb, cx, cy, cdx, cdy, sc, k0, k1, k2,
    ) = _setup(points, faces, view, f, f < triangles, vertices, height, width)  # fmt: skip
    pixels = columns.to(tl.int64) * rows
    large = pixels > SMALL
    pieces = (pixels + CHUNK - 1) // CHUNK
    taken = tl.atomic_add(counter + 0 * f, (pieces << 32) | 1, mask=large, sem="relaxed")
    place = taken & 0xFFFFFFFF
    tl.store(first_piece + place, (taken >> 32).to(tl.int32), mask=large)
    tl.store(queued + place, view * triangles + f, mask=large)
    own = tl.where(large, 0, pixels).to(tl.int32)
    column, row = left, top
    view_keys = keys + view.to(tl.int64) * height * width
    step, most = 0, tl.max(own, 0)
    while step < most:
        _draw(
            view_keys, f, column, row, step < own, width,
            ax, ay, adx, ady, sa, bx, by, bdx, bdy, sb, cx, cy, cdx, cdy, sc, k0, k1, k2,
        )  # fmt: skip
        step += 1
        wrap = column + 1 == left + columns
        column, row = tl.where(wrap, left, column + 1), tl.where(wrap, row + 1, row)


@kernel
def bisect(first_piece, count, piece):
    """The queue's last place whose first piece is not after `piece`; count > 0."""
    low = 0 * piece
    high = low + count
    size = count
    while size > 1:  # rounds of the largest interval
        size = (size + 1) // 2
        middle = (low + high) // 2
        go = (high - low > 1) & (
            tl.load(first_piece + middle, mask=middle < count, other=0) <= piece
        )
        low, high = tl.where(go, middle, low), tl.where((high - low > 1) & ~go, middle, high)
    return low


@kernel
def draw_large(
    points, faces, keys, counter, first_piece, queued, triangles, vertices, height, width,
    CHUNK: tl.constexpr,
):  # fmt: skip
    """Draw this program's share of the pieces of the queued triangles."""
    total = tl.load(counter)
    count, pieces = (total & 0xFFFFFFFF).to(tl.int32), (total >> 32).to(tl.int32)
    piece = (tl.program_id(0).to(tl.int64) * pieces // tl.num_programs(0)).to(tl.int32)
    last = ((tl.program_id(0) + 1).to(tl.int64) * pieces // tl.num_programs(0)).to(tl.int32)
    if piece < last:
        place = bisect(first_piece, count, piece)
        while piece < last:
            start = tl.load(first_piece + place)
            end = last
            if place + 1 < count:
                end = tl.minimum(tl.load(first_piece + place + 1), last)
            item = tl.load(queued + place)
            view, f = item // triangles, item % triangles
            (
                left, top, columns, rows,
                ax, ay, adx, ady, sa, bx, by, bdx, bdy, sb, cx, cy, cdx, cdy, sc, k0, k1, k2,
            ) = _setup(points, faces, view, f, f < triangles, vertices, height, width)  # fmt: skip
            view_keys = keys + view.to(tl.int64) * height * width
            # more than 2^31 pieces would wrap: pixels are lost then, but none is written outside the view
            while piece < end:
                at = (piece - start) * CHUNK + tl.arange(0, CHUNK)
                _draw(
                    view_keys, f, left + at % columns, top + at // columns,
                    (at >= 0) & (at < columns * rows), width,
                    ax, ay, adx, ady, sa, bx, by, bdx, bdy, sb, cx, cy, cdx, cdy, sc, k0, k1, k2,
                )  # fmt: skip
                piece += 1
            place += 1
