"""Triton kernels over pixels: interpolation and bilinear texture look-up, forward and backward.

The laws are those of `cpu_kernels.interpolate` and `cpu_texture_kernels`. Channels are taken `WIDE` at a time
(a power of two). Only pixels that carry a gradient cost anything backward.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def _corner_rows(faces, triangle, pixel, pixels, period, triangles, per_view, stride):
    """Whether a triangle is seen, and the rows of its corners in stacked attributes."""
    f = tl.load(triangle + pixel % period, mask=pixel < pixels, other=-1)
    seen = (f >= 0) & (f < triangles)
    start = (pixel // per_view) * stride
    i0 = start + tl.load(faces + 3 * f, mask=seen, other=0)
    i1 = start + tl.load(faces + 3 * f + 1, mask=seen, other=0)
    i2 = start + tl.load(faces + 3 * f + 2, mask=seen, other=0)
    return seen, i0, i1, i2


@kernel
def _weights(barycentric, pixel, seen):
    b0 = tl.load(barycentric + 3 * pixel, mask=seen, other=0.0)
    b1 = tl.load(barycentric + 3 * pixel + 1, mask=seen, other=0.0)
    b2 = tl.load(barycentric + 3 * pixel + 2, mask=seen, other=0.0)
    return b0[:, None], b1[:, None], b2[:, None]


@kernel
def interpolate(
    attributes, barycentric, triangle, faces, out, pixels, period, triangles, per_view, stride, channels,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Weighted corner attributes at the covered pixels; 0 elsewhere.

    period: pixels of the raster, fewer than `pixels` where views share it; stride: attribute rows per view, 0 if
    shared.
    """
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    seen, i0, i1, i2 = _corner_rows(
        faces, triangle, pixel, pixels, period, triangles, per_view, stride
    )
    b0, b1, b2 = _weights(barycentric, pixel % period, seen)
    first = 0
    while first < channels:
        c = first + tl.arange(0, WIDE)[None, :]
        here = seen[:, None] & (c < channels)
        value = b0 * tl.load(attributes + i0[:, None] * channels + c, mask=here, other=0.0)
        value += b1 * tl.load(attributes + i1[:, None] * channels + c, mask=here, other=0.0)
        value += b2 * tl.load(attributes + i2[:, None] * channels + c, mask=here, other=0.0)
        inside = (pixel < pixels)[:, None] & (c < channels)
        value = tl.where(here, value, 0.0)  # 0 times a corner that is not finite
        tl.store(out + pixel[:, None] * channels + c, value, mask=inside)
        first += WIDE


@kernel
def interpolate_to_attributes(
    grad, barycentric, triangle, faces, out,
    pixels, period, triangles, per_view, stride, channels,
    RUN: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add d loss / d attributes. A lane takes `RUN` pixels side by side and adds once for those of one triangle."""
    t = out.dtype.element_ty
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    first = 0
    while first < channels:
        c = first + tl.arange(0, WIDE)[None, :]
        before = 0 * lane - 1
        r0, r1, r2 = 0 * lane, 0 * lane, 0 * lane
        s0, s1 = tl.zeros([BLOCK, WIDE], t), tl.zeros([BLOCK, WIDE], t)
        s2 = tl.zeros([BLOCK, WIDE], t)
        for step in range(RUN):
            pixel = lane * RUN + step
            seen, i0, i1, i2 = _corner_rows(
                faces, triangle, pixel, pixels, period, triangles, per_view, stride
            )
            b0, b1, b2 = _weights(barycentric, pixel % period, seen)
            here = seen[:, None] & (c < channels)
            g = tl.load(grad + pixel[:, None] * channels + c, mask=here, other=0.0)
            f = tl.load(triangle + pixel % period, mask=seen, other=0)
            which = tl.where(seen, (pixel // per_view) * triangles + f, -1)
            new = which != before
            done = (new & (before >= 0))[:, None] & (c < channels)
            _add_rows(out, channels, c, r0, r1, r2, s0, s1, s2, done)
            fresh = new[:, None]
            s0 = tl.where(fresh, 0.0, s0) + b0 * g
            s1 = tl.where(fresh, 0.0, s1) + b1 * g
            s2 = tl.where(fresh, 0.0, s2) + b2 * g
            r0, r1, r2, before = i0, i1, i2, which
        done = (before >= 0)[:, None] & (c < channels)
        _add_rows(out, channels, c, r0, r1, r2, s0, s1, s2, done)
        first += WIDE


@kernel
def _add_rows(out, channels, c, r0, r1, r2, s0, s1, s2, mask):
    """Add to three rows of `out`; zeros are not worth the memory's time."""
    to0, to1 = out + r0[:, None] * channels + c, out + r1[:, None] * channels + c
    tl.atomic_add(to0, s0, mask=mask & (s0 != 0), sem="relaxed")
    tl.atomic_add(to1, s1, mask=mask & (s1 != 0), sem="relaxed")
    tl.atomic_add(out + r2[:, None] * channels + c, s2, mask=mask & (s2 != 0), sem="relaxed")


@kernel
def interpolate_to_barycentric(
    grad, attributes, triangle, faces, out,
    pixels, period, triangles, per_view, stride, channels,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write d loss / d barycentric, 0 outside."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    seen, i0, i1, i2 = _corner_rows(
        faces, triangle, pixel, pixels, period, triangles, per_view, stride
    )
    d0 = tl.zeros([BLOCK], out.dtype.element_ty)
    d1 = tl.zeros([BLOCK], out.dtype.element_ty)
    d2 = tl.zeros([BLOCK], out.dtype.element_ty)
    first = 0
    while first < channels:
        c = first + tl.arange(0, WIDE)[None, :]
        here = seen[:, None] & (c < channels)
        g = tl.load(grad + pixel[:, None] * channels + c, mask=here, other=0.0)
        at0, at1 = i0[:, None] * channels + c, i1[:, None] * channels + c
        d0 += tl.sum(g * tl.load(attributes + at0, mask=here, other=0.0), 1)
        d1 += tl.sum(g * tl.load(attributes + at1, mask=here, other=0.0), 1)
        at2 = i2[:, None] * channels + c
        d2 += tl.sum(g * tl.load(attributes + at2, mask=here, other=0.0), 1)
        first += WIDE
    tl.store(out + 3 * pixel, d0, mask=pixel < pixels)
    tl.store(out + 3 * pixel + 1, d1, mask=pixel < pixels)
    tl.store(out + 3 * pixel + 2, d2, mask=pixel < pixels)


@kernel
def cell(coordinate, size):
    """Lower texel, upper texel, fraction, and 1 where the coordinate is not clamped."""
    x = coordinate.to(tl.float64) * size - 0.5
    between = (x > 0) & (x < size - 1)
    above = x >= size - 1
    lower = tl.where(between, x, tl.where(above, size - 1.0, 0.0)).to(tl.int32)
    upper = tl.where(between, lower + 1, lower)
    fraction = tl.where(between, x - lower, 0.0 * x)  # nan stays nan
    return lower, upper, fraction.to(coordinate.dtype), between


@kernel
def _texels(uv, point, inside, per_view, stride, height, width):
    """Flat texel indices of the four neighbours, fractions, and where coordinates are not clamped."""
    u = tl.load(uv + 2 * point, mask=inside, other=0.0)
    v = tl.load(uv + 2 * point + 1, mask=inside, other=0.0)
    x0, x1, s, free_x = cell(u, width)
    y0, y1, t, free_y = cell(v, height)
    start = (point // per_view) * stride
    upper, lower = start + y0.to(tl.int64) * width, start + y1.to(tl.int64) * width
    return upper + x0, upper + x1, lower + x0, lower + x1, s, t, free_x, free_y


@kernel
def sample(
    texture, uv, out, points, per_view, stride, height, width, channels,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the looked-up texels to `out` (points, C). stride: texels per view, 0 if shared."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at00, at01, at10, at11, s, t, _, _ = _texels(
        uv, point, point < points, per_view, stride, height, width
    )
    s, t = s[:, None], t[:, None]
    first = 0
    while first < channels:
        c = first + tl.arange(0, WIDE)[None, :]
        here = (point < points)[:, None] & (c < channels)
        value = (
            (1 - t)
            * (1 - s)
            * tl.load(texture + at00[:, None] * channels + c, mask=here, other=0.0)
        )
        value += (1 - t) * s * tl.load(texture + at01[:, None] * channels + c, mask=here, other=0.0)
        value += t * (1 - s) * tl.load(texture + at10[:, None] * channels + c, mask=here, other=0.0)
        value += t * s * tl.load(texture + at11[:, None] * channels + c, mask=here, other=0.0)
        tl.store(out + point[:, None] * channels + c, value, mask=here)
        first += WIDE


@kernel
def sample_backward(
    grad, texture, uv, texture_out, uv_out, points, per_view, stride, height, width, channels,
    TO_TEXTURE: tl.constexpr, TO_UV: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add d loss / d texture, write d loss / d uv, as wanted."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at00, at01, at10, at11, s, t, free_x, free_y = _texels(
        uv, point, point < points, per_view, stride, height, width
    )
    s, t = s[:, None], t[:, None]
    du = tl.zeros([BLOCK], grad.dtype.element_ty)
    dv = tl.zeros([BLOCK], grad.dtype.element_ty)
    first = 0
    while first < channels:
        c = first + tl.arange(0, WIDE)[None, :]
        here = (point < points)[:, None] & (c < channels)
        g = tl.load(grad + point[:, None] * channels + c, mask=here, other=0.0)
        some = here & (g != 0)
        to00, to01 = at00[:, None] * channels + c, at01[:, None] * channels + c
        to10, to11 = at10[:, None] * channels + c, at11[:, None] * channels + c
        if TO_TEXTURE:
            tl.atomic_add(texture_out + to00, (1 - t) * (1 - s) * g, mask=some, sem="relaxed")
            tl.atomic_add(texture_out + to01, (1 - t) * s * g, mask=some, sem="relaxed")
            tl.atomic_add(texture_out + to10, t * (1 - s) * g, mask=some, sem="relaxed")
            tl.atomic_add(texture_out + to11, t * s * g, mask=some, sem="relaxed")
        if TO_UV:
            a = tl.load(texture + to00, mask=some, other=0.0)
            b = tl.load(texture + to01, mask=some, other=0.0)
            d = tl.load(texture + to10, mask=some, other=0.0)
            e = tl.load(texture + to11, mask=some, other=0.0)
            du += tl.sum(tl.where(some, g * ((1 - t) * (b - a) + t * (e - d)), 0.0), 1)
            dv += tl.sum(tl.where(some, g * ((1 - s) * (d - a) + s * (e - b)), 0.0), 1)
        first += WIDE
    if TO_UV:
        du = tl.where(free_x, du * width, 0.0)
        dv = tl.where(free_y, dv * height, 0.0)
        tl.store(uv_out + 2 * point, du, mask=point < points)
        tl.store(uv_out + 2 * point + 1, dv, mask=point < points)
