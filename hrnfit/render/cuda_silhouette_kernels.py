"""Triton kernels that find the pixel pairs which a visible silhouette edge separates, and blend them.

The laws are those of `cpu_silhouette_kernels`, in float64. First every edge of every view is asked whether it is a
silhouette, and those that are queue their rows (lines of pixel centres that they may cross). Then a fixed number of
programs share all queued rows, one lane per crossing: it walks from the nearer pixel's triangle and blends when the
walk ends at its own edge. So the cost is that of the outline, whatever its length and however it lies. Crossings that
blend are listed, and backward takes them from there: two pixels side by side have one at most, which bounds the list.
Of two counters of 64 bits the first counts rows (high half) and queued edges (low half), the second what is listed.
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
def rows_of(points, edge_vertices, view, e, inside, vertices, height, width):
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
        _, _, rows = rows_of(points, edge_vertices, view, e, found, vertices, height, width)
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
def _gate(ia, ib, sa, ra, sb, rb, e, beyond, entry, walking, s, r, step, leave, reach, follow):
    """The edge furthest along of those that the row leaves through, and the triangle beyond it, given the best of
    the edges before: here the one between corners `ia` and `ib`."""
    swap = ia > ib  # an edge is taken from its lower index
    fa, ga = tl.where(swap, sb, sa), tl.where(swap, rb, ra)
    fb, gb = tl.where(swap, sa, sb), tl.where(swap, ra, rb)
    crossed = walking & (e != entry) & ((ga > r) != (gb > r))
    along = step * (_crossing(fa, ga, fb, gb, r) - s)
    better = crossed & (along > reach)
    return (
        tl.where(better, e, leave), tl.where(better, along, reach), tl.where(better, beyond, follow),
    )  # fmt: skip


@kernel
def _walk(
    points, faces, triangle_edges, across, silhouette, view, f, axis, s, r, step, walking,
    edges, vertices, LONGEST: tl.constexpr,
):  # fmt: skip
    """Silhouette edge met from triangles `f` along `axis` within one pixel of (s, r), or -1.

    Two loads wait for each other per triangle: its corners, edges and neighbours, then where the corners lie.
    """
    base = points + 3 * vertices * view.to(tl.int64)
    marks = silhouette + view.to(tl.int64) * edges
    met, entry = 0 * f - 1, 0 * f - 1
    count, alive = 0, tl.max(walking.to(tl.int32), 0)
    while (count < LONGEST) & (alive > 0):
        i = tl.load(faces + 3 * f, mask=walking, other=0)
        j = tl.load(faces + 3 * f + 1, mask=walking, other=0)
        k = tl.load(faces + 3 * f + 2, mask=walking, other=0)
        ei = tl.load(triangle_edges + 3 * f, mask=walking, other=0)
        ej = tl.load(triangle_edges + 3 * f + 1, mask=walking, other=0)
        ek = tl.load(triangle_edges + 3 * f + 2, mask=walking, other=0)
        fi = tl.load(across + 3 * f, mask=walking, other=0)
        fj = tl.load(across + 3 * f + 1, mask=walking, other=0)
        fk = tl.load(across + 3 * f + 2, mask=walking, other=0)
        si = tl.load(base + 3 * i + axis, mask=walking, other=0.0).to(tl.float64)
        ri = tl.load(base + 3 * i + 1 - axis, mask=walking, other=0.0).to(tl.float64)
        sj = tl.load(base + 3 * j + axis, mask=walking, other=0.0).to(tl.float64)
        rj = tl.load(base + 3 * j + 1 - axis, mask=walking, other=0.0).to(tl.float64)
        sk = tl.load(base + 3 * k + axis, mask=walking, other=0.0).to(tl.float64)
        rk = tl.load(base + 3 * k + 1 - axis, mask=walking, other=0.0).to(tl.float64)
        mi = tl.load(marks + ei, mask=walking, other=0)
        mj = tl.load(marks + ej, mask=walking, other=0)
        mk = tl.load(marks + ek, mask=walking, other=0)
        leave, reach, follow = 0 * f - 1, 0.0 * s - float("inf"), 0 * f
        leave, reach, follow = _gate(
            j, k, sj, rj, sk, rk, ei, fi, entry, walking, s, r, step, leave, reach, follow
        )
        leave, reach, follow = _gate(
            k, i, sk, rk, si, ri, ej, fj, entry, walking, s, r, step, leave, reach, follow
        )
        leave, reach, follow = _gate(
            i, j, si, ri, sj, rj, ek, fk, entry, walking, s, r, step, leave, reach, follow
        )
        walking = walking & (leave >= 0) & (reach <= 1)
        outline = tl.where(leave == ei, mi, tl.where(leave == ej, mj, mk)) != 0
        met = tl.where(walking & outline, leave, met)
        walking = walking & ~outline
        f, entry = tl.where(walking, follow, f), tl.where(walking, leave, entry)
        count += 1
        alive = tl.max(walking.to(tl.int32), 0)
    return met


@kernel
def pair(
    points, edge_vertices, triangle, depth, view, e, axis, row, inside,
    vertices, height, width,
):  # fmt: skip
    """The crossing of an edge with a row: whether it lies between two pixels of the image, the pixel on the surface
    and the one beyond (flat, of all views), edge ends, blend weight in -0.5..0.5, what its derivative needs, and
    from where to walk.

    The weight is 0.5 - (distance of the edge from the centre of the pixel on the surface): positive, the surface
    ends inside its own pixel; negative, it covers a part of the pixel beyond.
    """
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
    weight = 0.5 - tl.minimum(tl.maximum(step * (crossing - s), 0.0), 1.0)
    t = (r - ra) / tl.where(crosses, rb - ra, 1.0)
    slope = (sb - sa) / tl.where(crosses, rb - ra, 1.0)
    f, walks = tl.where(swap, tq, tp), crosses & (tp != tq)
    return near, far, a, b, weight, step, t, slope, s, r, f, walks


@kernel
def met_pairs(
    points, faces, edge_vertices, triangle_edges, across, silhouette, triangle, depth,
    first_row, queued, count, item, inside, edges, vertices, height, width, LONGEST: tl.constexpr,
):  # fmt: skip
    """The crossing of each queued row: whether it blends, edge (of all views), row, pixel on the surface, pixel
    beyond, and weight."""
    place = bisect(first_row, count, item)
    which = tl.load(queued + place, mask=inside, other=0)
    view, e = which // edges, which % edges
    axis, first, _ = rows_of(points, edge_vertices, view, e, inside, vertices, height, width)
    row = first + item - tl.load(first_row + place, mask=inside, other=0)
    near, far, _, _, weight, step, _, _, s, r, f, walks = pair(
        points, edge_vertices, triangle, depth, view, e, axis, row, inside, vertices, height, width
    )
    met = _walk(
        points, faces, triangle_edges, across, silhouette, view, f, axis, s, r, step, walks,
        edges, vertices, LONGEST,
    )  # fmt: skip
    return walks & (met == e), which, row, near, far, weight
