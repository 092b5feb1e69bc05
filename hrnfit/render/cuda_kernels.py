"""Triton kernels of the rasteriser: z-buffer, perspective-correct barycentrics and their gradient.

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


@kernel
def pixel_weights(points, faces, view, f, seen, pixel, vertices, width):
    """What barycentrics are made of at a pixel of a view: corner indices, corners relative to the pixel's
    centre, depths (1 where nothing is seen), and w / z times all three depths, which spares divisions."""
    i0, i1, i2, x0, y0, z0, x1, y1, z1, x2, y2, z2 = corners_of(
        points, faces, view, f, seen, vertices
    )
    x, y = (pixel % width).to(tl.float64) + 0.5, (pixel // width).to(tl.float64) + 0.5
    x0, x1, x2 = x0 - x, x1 - x, x2 - x
    y0, y1, y2 = y0 - y, y1 - y, y2 - y
    z0, z1, z2 = tl.where(seen, z0, 1.0), tl.where(seen, z1, 1.0), tl.where(seen, z2, 1.0)
    q0, q1 = (x1 * y2 - x2 * y1) * (z1 * z2), (x2 * y0 - x0 * y2) * (z0 * z2)
    q2 = (x0 * y1 - x1 * y0) * (z0 * z1)
    return i0, i1, i2, x0, y0, z0, q0, x1, y1, z1, q1, x2, y2, z2, q2


@kernel
def resolve(
    points, faces, keys, triangle, barycentric, depth, vertices, height, width, pixels,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The z-buffer as triangle index, barycentrics and depth."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    key = tl.load(keys + pixel, mask=inside, other=0x7FFFFFFFFFFFFFFF)
    seen = key != 0x7FFFFFFFFFFFFFFF
    f = tl.where(seen, key & 0xFFFFFFFF, -1).to(tl.int32)
    tl.store(triangle + pixel, f, mask=inside)
    view = pixel // (height * width)
    _, _, _, _, _, z0, q0, _, _, z1, q1, _, _, z2, q2 = pixel_weights(
        points, faces, view, f, seen, pixel % (height * width), vertices, width
    )
    scale = 1.0 / tl.where(seen, q0 + q1 + q2, 1.0)
    b0, b1, b2 = q0 * scale, q1 * scale, q2 * scale
    z = tl.where(seen, b0 * z0 + b1 * z1 + b2 * z2, float("inf"))
    tl.store(depth + pixel, z, mask=inside)
    tl.store(barycentric + 3 * pixel, tl.where(seen, b0, 0.0), mask=inside)
    tl.store(barycentric + 3 * pixel + 1, tl.where(seen, b1, 0.0), mask=inside)
    tl.store(barycentric + 3 * pixel + 2, tl.where(seen, b2, 0.0), mask=inside)


@kernel
def _add_point(to, x, y, z, mask):
    tl.atomic_add(to, x, mask=mask, sem="relaxed")
    tl.atomic_add(to + 1, y, mask=mask, sem="relaxed")
    tl.atomic_add(to + 2, z, mask=mask, sem="relaxed")


@kernel
def barycentrics_backward(
    points, faces, triangle, grad, out, triangles, vertices, height, width, pixels,
    RUN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add d loss / d points to `out` (V, N, 3), given d loss / d barycentric.

    A lane takes `RUN` pixels side by side and adds once for those of one triangle.
    """
    t = out.dtype.element_ty
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    before = 0 * lane - 1
    to0, to1, to2 = out + 0 * lane, out + 0 * lane, out + 0 * lane
    sx0, sy0, sz0 = tl.zeros([BLOCK], t), tl.zeros([BLOCK], t), tl.zeros([BLOCK], t)
    sx1, sy1, sz1 = tl.zeros([BLOCK], t), tl.zeros([BLOCK], t), tl.zeros([BLOCK], t)
    sx2, sy2, sz2 = tl.zeros([BLOCK], t), tl.zeros([BLOCK], t), tl.zeros([BLOCK], t)
    for step in range(RUN):
        pixel = lane * RUN + step
        f = tl.load(triangle + pixel, mask=pixel < pixels, other=-1)
        seen = f >= 0
        g0 = tl.load(grad + 3 * pixel, mask=seen, other=0.0).to(tl.float64)
        g1 = tl.load(grad + 3 * pixel + 1, mask=seen, other=0.0).to(tl.float64)
        g2 = tl.load(grad + 3 * pixel + 2, mask=seen, other=0.0).to(tl.float64)
        seen = seen & ((g0 != 0) | (g1 != 0) | (g2 != 0))
        view = pixel // (height * width)
        i0, i1, i2, x0, y0, z0, q0, x1, y1, z1, q1, x2, y2, z2, q2 = pixel_weights(
            points, faces, view, f, seen, pixel % (height * width), vertices, width
        )
        total, product = tl.where(seen, q0 + q1 + q2, 1.0), z0 * z1 * z2
        both = 1.0 / (total * product)
        over_total, over_product = both * product, both * total
        mean = (g0 * q0 + g1 * q1 + g2 * q2) * over_total
        # a: gradient with respect to w; the depth part is -a w / z
        a0 = (g0 - mean) * (z1 * z2) * over_total
        a1 = (g1 - mean) * (z0 * z2) * over_total
        a2 = (g2 - mean) * (z0 * z1) * over_total
        which = tl.where(seen, view * triangles + f, -1)
        new = which != before
        done = new & (before >= 0)
        _add_point(to0, sx0, sy0, sz0, done)
        _add_point(to1, sx1, sy1, sz1, done)
        _add_point(to2, sx2, sy2, sz2, done)
        sx0 = tl.where(new, 0.0, sx0) + (a2 * y1 - a1 * y2).to(t)
        sy0 = tl.where(new, 0.0, sy0) + (a1 * x2 - a2 * x1).to(t)
        sz0 = tl.where(new, 0.0, sz0) - (a0 * q0 * over_product).to(t)
        sx1 = tl.where(new, 0.0, sx1) + (a0 * y2 - a2 * y0).to(t)
        sy1 = tl.where(new, 0.0, sy1) + (a2 * x0 - a0 * x2).to(t)
        sz1 = tl.where(new, 0.0, sz1) - (a1 * q1 * over_product).to(t)
        sx2 = tl.where(new, 0.0, sx2) + (a1 * y0 - a0 * y1).to(t)
        sy2 = tl.where(new, 0.0, sy2) + (a0 * x1 - a1 * x0).to(t)
        sz2 = tl.where(new, 0.0, sz2) - (a2 * q2 * over_product).to(t)
        base = out + 3 * vertices * view
        to0, to1, to2, before = base + 3 * i0, base + 3 * i1, base + 3 * i2, which
    _add_point(to0, sx0, sy0, sz0, before >= 0)
    _add_point(to1, sx1, sy1, sz1, before >= 0)
    _add_point(to2, sx2, sy2, sz2, before >= 0)
