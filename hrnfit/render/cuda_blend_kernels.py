"""Triton kernels that blend the pixel pairs of `cuda_silhouette_kernels`: forward finds and lists them, backward and
its second derivative read the list. A pair is listed as its edge (of all views) and the row that this crosses."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.render.cuda_silhouette_kernels import met_pairs, pair, rows_of


@kernel
def blend(
    points, faces, edge_vertices, triangle_edges, across, silhouette, triangle, depth,
    counters, first_row, queued, listed, capacity, image, out, edges, vertices, height, width, channels,
    LONGEST: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the blends to `out` (V, H, W, C), which starts as a copy of `image`, and list up to `capacity` of them."""
    total = tl.load(counters)
    count, rows = (total & 0xFFFFFFFF).to(tl.int32), (total >> 32).to(tl.int32)
    begin = tl.program_id(0) * BLOCK
    while begin < rows:
        item = begin + tl.arange(0, BLOCK)
        blends, which, row, p, q, weight = met_pairs(
            points, faces, edge_vertices, triangle_edges, across, silhouette, triangle, depth,
            first_row, queued, count, item, item < rows, edges, vertices, height, width, LONGEST,
        )  # fmt: skip
        target = tl.where(weight > 0, p, q)[:, None] * channels
        w, p, q = weight.to(image.dtype.element_ty)[:, None], p[:, None], q[:, None]
        first = 0
        while first < channels:
            c = first + tl.arange(0, WIDE)[None, :]
            here = blends[:, None] & (c < channels)
            beyond = tl.load(image + q * channels + c, mask=here, other=0.0)
            own = tl.load(image + p * channels + c, mask=here, other=0.0)
            tl.atomic_add(out + target + c, w * (beyond - own), mask=here, sem="relaxed")
            first += WIDE
        own = blends.to(tl.int32)
        taken = tl.atomic_add(counters + 1, tl.sum(own, 0).to(tl.int64), sem="relaxed")
        place = taken + tl.cumsum(own, 0) - own
        there = blends & (place < capacity)
        tl.store(listed + 2 * place, which, mask=there)
        tl.store(listed + 2 * place + 1, row, mask=there)
        begin += tl.num_programs(0) * BLOCK


@kernel
def _listed(
    points, edge_vertices, triangle, depth, listed, item, inside, edges, vertices, height, width
):
    """What `pair` says of listed pairs, with their view and axis."""
    which = tl.load(listed + 2 * item, mask=inside, other=0)
    row = tl.load(listed + 2 * item + 1, mask=inside, other=0)
    view, e = which // edges, which % edges
    axis, _, _ = rows_of(points, edge_vertices, view, e, inside, vertices, height, width)
    p, q, a, b, weight, step, t, slope, _, _, _, _ = pair(
        points, edge_vertices, triangle, depth, view, e, axis, row, inside, vertices, height, width
    )
    return p, q, view, a, b, axis, e, weight, step, t, slope


@kernel
def blend_backward(
    points, edge_vertices, triangle, depth, counters, listed, image, grad, image_out, points_out,
    edges, vertices, height, width, channels,
    TO_POINTS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add d loss / d image to `image_out` (a copy of `grad`) and d loss / d points to the other."""
    pairs = tl.load(counters + 1).to(tl.int32)
    begin = tl.program_id(0) * BLOCK
    while begin < pairs:
        item = begin + tl.arange(0, BLOCK)
        there = item < pairs
        p, q, view, a, b, axis, _, weight, step, t, slope = _listed(
            points, edge_vertices, triangle, depth, listed, item, there,
            edges, vertices, height, width,
        )  # fmt: skip
        target = tl.where(weight > 0, p, q)[:, None] * channels
        w, p, q = weight.to(image.dtype.element_ty)[:, None], p[:, None], q[:, None]
        rate = 0.0 * weight
        first = 0
        while first < channels:
            c = first + tl.arange(0, WIDE)[None, :]
            here = there[:, None] & (c < channels)
            g = tl.load(grad + target + c, mask=here, other=0.0)
            beyond = tl.load(image + q * channels + c, mask=here, other=0.0)
            own = tl.load(image + p * channels + c, mask=here, other=0.0)
            rate += tl.sum(g * (beyond - own), 1)
            tl.atomic_add(image_out + q * channels + c, w * g, mask=here, sem="relaxed")
            tl.atomic_add(image_out + p * channels + c, -w * g, mask=here, sem="relaxed")
            first += WIDE
        if TO_POINTS:
            moves = there & (tl.abs(weight) < 0.5)
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
def partners(
    points, edge_vertices, triangle, depth, counters, listed, partner,
    edges, vertices, height, width, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write edge + 1 of listed pairs to `partner` (V, H, W, 2, 2), zero before: by pixel on the surface, axis, and
    whether the pixel beyond comes after it."""
    pairs = tl.load(counters + 1).to(tl.int32)
    begin = tl.program_id(0) * BLOCK
    while begin < pairs:
        item = begin + tl.arange(0, BLOCK)
        there = item < pairs
        p, q, _, _, _, axis, e, _, _, _, _ = _listed(
            points, edge_vertices, triangle, depth, listed, item, there,
            edges, vertices, height, width,
        )  # fmt: skip
        tl.store(partner + 4 * p + 2 * axis + tl.where(q > p, 1, 0), e + 1, mask=there)
        begin += tl.num_programs(0) * BLOCK
