"""Triton kernels that find the pixel pairs which a visible silhouette edge separates, and blend them.

The laws are those of `cpu_silhouette_kernels`, in float64. First every edge of every view is asked whether it is a
silhouette, and those that are queue their rows (lines of pixel centres that they may cross). Then a fixed number of
programs share all queued rows, one lane per crossing: it walks from the nearer pixel's triangle and blends when the
walk ends at its own edge. So the cost is that of the outline, whatever its length and however it lies. Backward
walks again instead of keeping pairs. One 64-bit counter counts rows (high half) and queued edges (low half).
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.render.cuda_kernels import bisect, corners_of


@kernel
def _positive(points, faces, view, f, inside, vertices):
    """Whether triangles turn from x to y on the screen."""
    _, _, _, x0, y0, _, x1, y1, _, x2, y2, _ = corners_of(points, faces, view, f, inside, vertices)
    return (x1 - x0) * (y2 - y0) > (x2 - x0) * (y1 - y0)


@kernel
def _ends(points, edge_vertices, view, e, axis, inside, vertices):
    """End points of edges as (along, across) for the axis that pairs lie on: float64."""
    base = points + 3 * vertices * view.to(tl.int64)
    a = tl.load(edge_vertices + 2 * e, mask=inside, other=0)
    b = tl.load(edge_vertices + 2 * e + 1, mask=inside, other=0)
    sa = tl.load(base + 3 * a + axis, mask=inside, other=0.0).to(tl.float64)
    ra = tl.load(base + 3 * a + 1 - axis, mask=inside, other=0.0).to(tl.float64)
    sb = tl.load(base + 3 * b + axis, mask=inside, other=0.0).to(tl.float64)
    rb = tl.load(base + 3 * b + 1 - axis, mask=inside, other=0.0).to(tl.float64)
    return a, b, sa, ra, sb, rb


@kernel
def _rows(points, edge_vertices, view, e, inside, vertices, height, width):
    """Axis on which an edge acts, its first row and their number: none for one that cannot be drawn."""
    zero = 0 * e
    a, b, xa, ya, xb, yb = _ends(points, edge_vertices, view, e, zero, inside, vertices)
    base = points + 3 * vertices * view.to(tl.int64)
    za = tl.load(base + 3 * a + 2, mask=inside, other=0.0)
    zb = tl.load(base + 3 * b + 2, mask=inside, other=0.0)
    # the lengths are compared as the CPU does, in the dtype of the points
    dx = tl.abs(xb - xa).to(points.dtype.element_ty)
    dy = tl.abs(yb - ya).to(points.dtype.element_ty)
    usable = inside & (za > 0) & (zb > 0) & (dx + dy < float("inf"))
    axis = tl.where(dy >= dx, 0, 1)
    rows = tl.where(axis == 0, height, width)
    ra, rb = tl.where(axis == 0, ya, xa), tl.where(axis == 0, yb, xb)
    first = tl.maximum(tl.ceil(tl.minimum(ra, rb) - 0.5), 0.0)
    last = tl.minimum(tl.floor(tl.maximum(ra, rb) - 0.5), rows - 1.0)
    usable = usable & (first <= last)
    first = tl.where(usable, first, 0.0)
    return axis, first.to(tl.int32), tl.where(usable, last - first + 1, 0.0).to(tl.int32)


@kernel
def find(
    points, faces, edge_vertices, edge_triangles, agree, silhouette, counter, first_row, queued,
    edges, vertices, height, width, BLOCK: tl.constexpr,
):  # fmt: skip
    """Mark the silhouette edges of a view (V, E) and queue those that cross rows of the image."""
    view = tl.program_id(1)
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = e < edges
    one = tl.load(edge_triangles + 2 * e, mask=inside, other=0)
    two = tl.load(edge_triangles + 2 * e + 1, mask=inside, other=-1)
    joined = inside & (two >= 0)
    positive = _positive(points, faces, view, one, joined, vertices)
    other = _positive(points, faces, view, two, joined, vertices)
    flat = tl.load(agree + e, mask=inside, other=0) != 0
    found = inside & (~joined | ((positive == other) != flat))
    tl.store(silhouette + view.to(tl.int64) * edges + e, found.to(tl.int8), mask=inside)
    if tl.max(found.to(tl.int32), 0) > 0:
        _, _, rows = _rows(points, edge_vertices, view, e, found, vertices, height, width)
        some = rows > 0
        order = (rows.to(tl.int64) << 32) | 1
        taken = tl.atomic_add(counter + 0 * e, order, mask=some, sem="relaxed")
        place = taken & 0xFFFFFFFF
        tl.store(first_row + place, (taken >> 32).to(tl.int32), mask=some)
        tl.store(queued + place, view * edges + e, mask=some)


@kernel
def _crossing(sa, ra, sb, rb, r):
    """Where the line through the ends passes the row r."""
    flat = rb == ra
    return sa + (r - ra) / tl.where(flat, 1.0, rb - ra) * (sb - sa)


@kernel
def _walk(
    points, edge_vertices, edge_triangles, triangle_edges, silhouette, view, f, axis, s, r, step,
    walking, edges, vertices, LONGEST: tl.constexpr,
):  # fmt: skip
    """Silhouette edge met from triangles `f` along `axis` within one pixel of (s, r), or -1."""
    met, entry = 0 * f - 1, 0 * f - 1
    count, alive = 0, tl.max(walking.to(tl.int32), 0)
    while (count < LONGEST) & (alive > 0):
        leave, reach = 0 * f - 1, 0.0 * s - float("inf")
        for k in tl.static_range(3):
            e = tl.load(triangle_edges + 3 * f + k, mask=walking, other=0)
            _, _, sa, ra, sb, rb = _ends(points, edge_vertices, view, e, axis, walking, vertices)
            crossed = walking & (e != entry) & ((ra > r) != (rb > r))
            along = step * (_crossing(sa, ra, sb, rb, r) - s)
            better = crossed & (along > reach)
            leave, reach = tl.where(better, e, leave), tl.where(better, along, reach)
        walking = walking & (leave >= 0) & (reach <= 1)
        outline = (
            tl.load(silhouette + view.to(tl.int64) * edges + leave, mask=walking, other=0) != 0
        )
        met = tl.where(walking & outline, leave, met)
        walking = walking & ~outline
        one = tl.load(edge_triangles + 2 * leave, mask=walking, other=0)
        two = tl.load(edge_triangles + 2 * leave + 1, mask=walking, other=0)
        f, entry = tl.where(walking, one + two - f, f), tl.where(walking, leave, entry)
        count += 1
        alive = tl.max(walking.to(tl.int32), 0)
    return met


@kernel
def _pairs(
    points, edge_vertices, edge_triangles, triangle_edges, silhouette, triangle, depth,
    first_row, queued, count, item, inside, edges, vertices, height, width, LONGEST: tl.constexpr,
):  # fmt: skip
    """The crossing of each queued row: whether it blends, pixel on the surface and pixel beyond (flat, of
    all views), edge ends, axis, blend weight in -0.5..0.5, and what its derivative needs.

    The weight is 0.5 - (distance of the edge from the centre of the pixel on the surface): positive, the surface
    ends inside its own pixel; negative, it covers a part of the pixel beyond.
    """
    place = bisect(first_row, count, item)
    which = tl.load(queued + place, mask=inside, other=0)
    view, e = which // edges, which % edges
    axis, first, _ = _rows(points, edge_vertices, view, e, inside, vertices, height, width)
    row = first + item - tl.load(first_row + place, mask=inside, other=0)
    r = row.to(tl.float64) + 0.5
    a, b, sa, ra, sb, rb = _ends(points, edge_vertices, view, e, axis, inside, vertices)
    crosses = inside & ((ra > r) != (rb > r))
    crossing = _crossing(sa, ra, sb, rb, r)
    at = tl.floor(crossing - 0.5)
    crosses = crosses & (at >= 0) & (at < tl.where(axis == 0, width, height) - 1)
    at = tl.where(crosses, at, 0.0).to(tl.int32)
    start = view.to(tl.int64) * height * width
    p = start + tl.where(axis == 0, row.to(tl.int64) * width + at, at.to(tl.int64) * width + row)
    q = p + tl.where(axis == 0, 1, width)
    tp = tl.load(triangle + p, mask=crosses, other=-1)
    tq = tl.load(triangle + q, mask=crosses, other=-1)
    dp = tl.load(depth + p, mask=crosses, other=0.0)
    dq = tl.load(depth + q, mask=crosses, other=0.0)
    swap = (tp < 0) | ((tq >= 0) & (dq < dp))
    step = tl.where(swap, -1.0, 1.0).to(tl.float64)
    s = at.to(tl.float64) + tl.where(swap, 1.5, 0.5)
    near, far = tl.where(swap, q, p), tl.where(swap, p, q)
    met = _walk(
        points, edge_vertices, edge_triangles, triangle_edges, silhouette, view,
        tl.where(swap, tq, tp), axis, s, r, step, crosses & (tp != tq), edges, vertices, LONGEST,
    )  # fmt: skip
    blends = crosses & (met == e)
    weight = 0.5 - tl.minimum(tl.maximum(step * (crossing - s), 0.0), 1.0)
    t = (r - ra) / tl.where(crosses, rb - ra, 1.0)
    slope = (sb - sa) / tl.where(crosses, rb - ra, 1.0)
    return blends, near, far, view, a, b, axis, e, weight, step, t, slope


@kernel
def blend(
    points, edge_vertices, edge_triangles, triangle_edges, silhouette, triangle, depth,
    counter, first_row, queued, image, out, edges, vertices, height, width, channels,
    LONGEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the blends to `out` (V, H, W, C), which starts as a copy of `image`."""
    total = tl.load(counter)
    count, rows = (total & 0xFFFFFFFF).to(tl.int32), (total >> 32).to(tl.int32)
    begin = tl.program_id(0) * BLOCK
    while begin < rows:
        item = begin + tl.arange(0, BLOCK)
        blends, p, q, _, _, _, _, _, weight, _, _, _ = _pairs(
            points, edge_vertices, edge_triangles, triangle_edges, silhouette, triangle, depth,
            first_row, queued, count, item, item < rows, edges, vertices, height, width, LONGEST,
        )  # fmt: skip
        target = tl.where(weight > 0, p, q)
        w = weight.to(image.dtype.element_ty)
        c = 0
        while c < channels:
            beyond = tl.load(image + q * channels + c, mask=blends, other=0.0)
            own = tl.load(image + p * channels + c, mask=blends, other=0.0)
            to = out + target * channels + c
            tl.atomic_add(to, w * (beyond - own), mask=blends, sem="relaxed")
            c += 1
        begin += tl.num_programs(0) * BLOCK


@kernel
def blend_backward(
    points, edge_vertices, edge_triangles, triangle_edges, silhouette, triangle, depth,
    counter, first_row, queued, image, grad, image_out, points_out,
    edges, vertices, height, width, channels,
    TO_POINTS: tl.constexpr, LONGEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add d loss / d image to `image_out` (a copy of `grad`) and d loss / d points to the other."""
    total = tl.load(counter)
    count, rows = (total & 0xFFFFFFFF).to(tl.int32), (total >> 32).to(tl.int32)
    begin = tl.program_id(0) * BLOCK
    while begin < rows:
        item = begin + tl.arange(0, BLOCK)
        blends, p, q, view, a, b, axis, _, weight, step, t, slope = _pairs(
            points, edge_vertices, edge_triangles, triangle_edges, silhouette, triangle, depth,
            first_row, queued, count, item, item < rows, edges, vertices, height, width, LONGEST,
        )  # fmt: skip
        target = tl.where(weight > 0, p, q)
        w = weight.to(image.dtype.element_ty)
        rate = 0.0 * weight
        c = 0
        while c < channels:
            g = tl.load(grad + target * channels + c, mask=blends, other=0.0)
            beyond = tl.load(image + q * channels + c, mask=blends, other=0.0)
            own = tl.load(image + p * channels + c, mask=blends, other=0.0)
            rate += g * (beyond - own)
            tl.atomic_add(image_out + q * channels + c, w * g, mask=blends, sem="relaxed")
            tl.atomic_add(image_out + p * channels + c, -w * g, mask=blends, sem="relaxed")
            c += 1
        if TO_POINTS:
            moves = blends & (tl.abs(weight) < 0.5)
            rate = -rate * step  # d weight / d crossing
            base = points_out + 3 * vertices * view.to(tl.int64)
            to_a, to_b = base + 3 * a, base + 3 * b
            of_a, of_b = rate * (1 - t), rate * t
            d = points.dtype.element_ty
            tl.atomic_add(to_a + axis, of_a.to(d), mask=moves, sem="relaxed")
            tl.atomic_add(to_b + axis, of_b.to(d), mask=moves, sem="relaxed")
            tl.atomic_add(to_a + 1 - axis, (-of_a * slope).to(d), mask=moves, sem="relaxed")
            tl.atomic_add(to_b + 1 - axis, (-of_b * slope).to(d), mask=moves, sem="relaxed")
        begin += tl.num_programs(0) * BLOCK


@kernel
def list_pairs(
    points, edge_vertices, edge_triangles, triangle_edges, silhouette, triangle, depth,
    counter, first_row, queued, partner, edges, vertices, height, width,
    LONGEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write edge + 1 to `partner` (V, H, W, 2, 2), zero before: by pixel on the surface, axis, and whether the
    pixel beyond comes after it."""
    total = tl.load(counter)
    count, rows = (total & 0xFFFFFFFF).to(tl.int32), (total >> 32).to(tl.int32)
    begin = tl.program_id(0) * BLOCK
    while begin < rows:
        item = begin + tl.arange(0, BLOCK)
        blends, p, q, _, _, _, axis, e, _, _, _, _ = _pairs(
            points, edge_vertices, edge_triangles, triangle_edges, silhouette, triangle, depth,
            first_row, queued, count, item, item < rows, edges, vertices, height, width, LONGEST,
        )  # fmt: skip
        slot = 4 * p + 2 * axis + tl.where(q > p, 1, 0)
        tl.store(partner + slot, e + 1, mask=blends)
        begin += tl.num_programs(0) * BLOCK
