"""Triton kernels of the rasteriser: from the z-buffer to perspective-correct barycentrics, and their gradient.

The laws are those of `cpu_kernels`, in float64. Programs in which nothing is seen only write.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.geometry.mesh_cuda_kernels import quad
from hrnfit.render.cuda_kernels import corners_of


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
    points, faces, keys, triangle, barycentric, depth, vertices, width, pixels,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The z-buffer of view `program_id(1)` as triangle index, barycentrics and depth. pixels: of a view."""
    own = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    view = tl.program_id(1)
    inside, pixel = own < pixels, view.to(tl.int64) * pixels + own
    key = tl.load(keys + pixel, mask=inside, other=0x7FFFFFFFFFFFFFFF)
    seen = key != 0x7FFFFFFFFFFFFFFF
    f = tl.where(seen, key & 0xFFFFFFFF, -1).to(tl.int32)
    tl.store(triangle + pixel, f, mask=inside)
    b0 = tl.zeros([BLOCK], tl.float64)
    b1, b2, z = b0, b0, b0 + float("inf")
    if tl.max(seen.to(tl.int32), 0) > 0:
        _, _, _, _, _, z0, q0, _, _, z1, q1, _, _, z2, q2 = pixel_weights(
            points, faces, view, f, seen, own, vertices, width
        )
        scale = tl.where(seen, 1.0 / tl.where(seen, q0 + q1 + q2, 1.0), 0.0)
        b0, b1, b2 = q0 * scale, q1 * scale, q2 * scale
        z = tl.where(seen, b0 * z0 + b1 * z1 + b2 * z2, float("inf"))
    tl.store(depth + pixel, z, mask=inside)
    tl.store(barycentric + 3 * pixel, b0, mask=inside)
    tl.store(barycentric + 3 * pixel + 1, b1, mask=inside)
    tl.store(barycentric + 3 * pixel + 2, b2, mask=inside)


@kernel
def _add_points(to, i0, i1, i2, x0, y0, z0, x1, y1, z1, x2, y2, z2, mask):
    """Add to the rows of three corners, four numbers long so that each is added at once."""
    c, wanted = tl.arange(0, 4)[None, :], mask[:, None]
    none = 0.0 * x0
    tl.atomic_add(to + 4 * i0[:, None] + c, quad(x0, y0, z0, none), mask=wanted, sem="relaxed")
    tl.atomic_add(to + 4 * i1[:, None] + c, quad(x1, y1, z1, none), mask=wanted, sem="relaxed")
    tl.atomic_add(to + 4 * i2[:, None] + c, quad(x2, y2, z2, none), mask=wanted, sem="relaxed")


@kernel
def barycentrics_backward(
    points, faces, triangle, grad, out, vertices, width, pixels,
    RUN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add d loss / d points to `out` (V, N, 4), given d loss / d barycentric of view `program_id(1)`, of so many pixels.

    A lane takes `RUN` pixels side by side and adds once for those of one triangle.
    """
    t = out.dtype.element_ty
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    view = tl.program_id(1)
    out += view.to(tl.int64) * vertices * 4
    before = 0 * lane - 1
    r0, r1, r2 = 0 * lane, 0 * lane, 0 * lane
    sx0, sy0, sz0 = tl.zeros([BLOCK], t), tl.zeros([BLOCK], t), tl.zeros([BLOCK], t)
    sx1, sy1, sz1 = tl.zeros([BLOCK], t), tl.zeros([BLOCK], t), tl.zeros([BLOCK], t)
    sx2, sy2, sz2 = tl.zeros([BLOCK], t), tl.zeros([BLOCK], t), tl.zeros([BLOCK], t)
    for step in range(RUN):
        own = lane * RUN + step
        pixel = view.to(tl.int64) * pixels + own
        f = tl.load(triangle + pixel, mask=own < pixels, other=-1)
        seen = f >= 0
        g0 = tl.load(grad + 3 * pixel, mask=seen, other=0.0).to(tl.float64)
        g1 = tl.load(grad + 3 * pixel + 1, mask=seen, other=0.0).to(tl.float64)
        g2 = tl.load(grad + 3 * pixel + 2, mask=seen, other=0.0).to(tl.float64)
        seen = seen & ((g0 != 0) | (g1 != 0) | (g2 != 0))
        if tl.max(seen.to(tl.int32), 0) > 0:
            i0, i1, i2, x0, y0, z0, q0, x1, y1, z1, q1, x2, y2, z2, q2 = pixel_weights(
                points, faces, view, f, seen, own, vertices, width
            )
            total, product = tl.where(seen, q0 + q1 + q2, 1.0), z0 * z1 * z2
            both = 1.0 / (total * product)
            over_total, over_product = both * product, both * total
            mean = (g0 * q0 + g1 * q1 + g2 * q2) * over_total
            # a: gradient with respect to w; the depth part is -a w / z
            a0 = (g0 - mean) * (z1 * z2) * over_total
            a1 = (g1 - mean) * (z0 * z2) * over_total
            a2 = (g2 - mean) * (z0 * z1) * over_total
            # pixels that carry nothing between two of one triangle do not end its run
            which = tl.where(seen, f, before)
            new = which != before
            _add_points(
                out, r0, r1, r2, sx0, sy0, sz0, sx1, sy1, sz1, sx2, sy2, sz2, new & (before >= 0)
            )
            sx0 = tl.where(new, 0.0, sx0) + (a2 * y1 - a1 * y2).to(t)
            sy0 = tl.where(new, 0.0, sy0) + (a1 * x2 - a2 * x1).to(t)
            sz0 = tl.where(new, 0.0, sz0) - (a0 * q0 * over_product).to(t)
            sx1 = tl.where(new, 0.0, sx1) + (a0 * y2 - a2 * y0).to(t)
            sy1 = tl.where(new, 0.0, sy1) + (a2 * x0 - a0 * x2).to(t)
            sz1 = tl.where(new, 0.0, sz1) - (a1 * q1 * over_product).to(t)
            sx2 = tl.where(new, 0.0, sx2) + (a1 * y0 - a0 * y1).to(t)
            sy2 = tl.where(new, 0.0, sy2) + (a0 * x1 - a1 * x0).to(t)
            sz2 = tl.where(new, 0.0, sz2) - (a2 * q2 * over_product).to(t)
            r0, r1 = tl.where(new, i0, r0), tl.where(new, i1, r1)
            r2, before = tl.where(new, i2, r2), which
    _add_points(out, r0, r1, r2, sx0, sy0, sz0, sx1, sy1, sz1, sx2, sy2, sz2, before >= 0)
