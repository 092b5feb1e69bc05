"""Triton: detail normals (`render/detail.py` has the law) and their derivative, without copies per view.

Surfaces are maps (T, H, W, 3) of frames, displacements (K, H, W); a view names its row of each. Backward in two
passes: first the derivative with respect to each texel's differences along u and v, then each texel
gathers from the differences that read it.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.geometry.mesh_cuda_kernels import load3, store3


@kernel
def inside_chart(mask, row, column, height, width):
    """1 where a texel exists and lies in the chart."""
    there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return tl.load(mask + row * width + column, mask=there, other=0.0)


@kernel
def _difference(positions, heights, at, step, before, after):
    """Mean of the one-sided differences of position and displacement whose other end is in the chart."""
    x, y, z = load3(positions, at, before + after > 0)
    d = tl.load(heights + at, mask=before + after > 0, other=0.0)
    ax, ay, az = load3(positions, at + step, after > 0)
    da = tl.load(heights + at + step, mask=after > 0, other=0.0)
    bx, by, bz = load3(positions, at - step, before > 0)
    db = tl.load(heights + at - step, mask=before > 0, other=0.0)
    count = tl.maximum(before + after, 1.0)
    x = (after * (ax - x) + before * (x - bx)) / count
    y = (after * (ay - y) + before * (y - by)) / count
    z = (after * (az - z) + before * (z - bz)) / count
    return x, y, z, (after * (da - d) + before * (d - db)) / count


@kernel
def _gradient(positions, heights, mask, at, inside, height, width):
    """Tangents, slopes, first fundamental form, and the inverse of its determinant (0 where degenerate)."""
    row, column = at // width, at % width
    own = tl.load(mask + at, mask=inside, other=0.0)
    left = own * inside_chart(mask, row, column - 1, height, width)
    right = own * inside_chart(mask, row, column + 1, height, width)
    above = own * inside_chart(mask, row - 1, column, height, width)
    below = own * inside_chart(mask, row + 1, column, height, width)
    ux, uy, uz, du = _difference(positions, heights, at, 1, left, right)
    vx, vy, vz, dv = _difference(positions, heights, at, width, above, below)
    e, f = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz
    g = vx * vx + vy * vy + vz * vz
    area = e * g - f * f
    flat = area <= 1e-6 * e * g
    scale = tl.where(flat, 0.0, 1.0 / tl.where(flat, 1.0, area))
    return ux, uy, uz, du, vx, vy, vz, dv, e, f, g, scale


@kernel
def _unit(x, y, z):
    """Unit vector and 1 over the length; zeros for zero."""
    square = x * x + y * y + z * z
    tiny = square <= 1.1754943508222875e-38
    scale = tl.where(tiny, 0.0, 1.0 / tl.sqrt(tl.where(tiny, 1.0, square)))
    return x * scale, y * scale, z * scale, scale


@kernel
def detail(
    positions, normals, displacement, mask, frame, rows, out, height, width, BLOCK: tl.constexpr
):
    """Unit normals of view `program_id(1)`."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    texels = height * width
    inside = at < texels
    view = tl.program_id(1).to(tl.int64)
    surface = tl.load(frame + view) * texels * 3
    heights = displacement + tl.load(rows + view) * texels
    ux, uy, uz, du, vx, vy, vz, dv, e, f, g, scale = _gradient(
        positions + surface, heights, mask, at, inside, height, width
    )
    a, b = (du * g - dv * f) * scale, (dv * e - du * f) * scale
    qx, qy, qz = a * ux + b * vx, a * uy + b * vy, a * uz + b * vz
    nx, ny, nz = load3(normals + surface, at, inside)
    along = qx * nx + qy * ny + qz * nz
    x, y, z, _ = _unit(nx - qx + along * nx, ny - qy + along * ny, nz - qz + along * nz)
    store3(out + view * texels * 3, at, x, y, z, inside)


@kernel
def detail_backward(
    positions, normals, displacement, mask, frame, rows, grad, stride, by_u, by_v, by_normal,
    height, width, TO_SURFACE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """d loss / d differences along u and v, 4 numbers each (position, displacement), and / d normal. stride: of the
    texels of `grad`."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    texels = height * width
    inside = at < texels
    view = tl.program_id(1).to(tl.int64)
    surface = tl.load(frame + view) * texels * 3
    heights = displacement + tl.load(rows + view) * texels
    ux, uy, uz, du, vx, vy, vz, dv, e, f, g, scale = _gradient(
        positions + surface, heights, mask, at, inside, height, width
    )
    a, b = (du * g - dv * f) * scale, (dv * e - du * f) * scale
    qx, qy, qz = a * ux + b * vx, a * uy + b * vy, a * uz + b * vz
    nx, ny, nz = load3(normals + surface, at, inside)
    along = qx * nx + qy * ny + qz * nz
    wx, wy, wz, inverse = _unit(nx - qx + along * nx, ny - qy + along * ny, nz - qz + along * nz)
    own = grad + (view * texels + at) * stride
    gx = tl.load(own, mask=inside, other=0.0)
    gy = tl.load(own + 1, mask=inside, other=0.0)
    gz = tl.load(own + 2, mask=inside, other=0.0)
    out = gx * wx + gy * wy + gz * wz
    gx, gy, gz = (gx - out * wx) * inverse, (gy - out * wy) * inverse, (gz - out * wz) * inverse
    up = gx * nx + gy * ny + gz * nz
    hx, hy, hz = up * nx - gx, up * ny - gy, up * nz - gz  # by q
    hu, hv = hx * ux + hy * uy + hz * uz, hx * vx + hy * vy + hz * vz
    # q = scale (du A + dv B), A = g p_u - f p_v, B = e p_v - f p_u
    place = view * texels + at
    to_u, to_v = by_u + 4 * place, by_v + 4 * place
    tl.store(to_u + 3, scale * (g * hu - f * hv), mask=inside)
    tl.store(to_v + 3, scale * (e * hv - f * hu), mask=inside)
    if TO_SURFACE:
        by_area = -scale * (a * hu + b * hv)  # -scale^2 (du A + dv B) . h
        de = g * by_area + scale * dv * hv
        dg = e * by_area + scale * du * hu
        df = -2.0 * f * by_area - scale * (du * hv + dv * hu)
        tl.store(to_u, a * hx + 2.0 * de * ux + df * vx, mask=inside)
        tl.store(to_u + 1, a * hy + 2.0 * de * uy + df * vy, mask=inside)
        tl.store(to_u + 2, a * hz + 2.0 * de * uz + df * vz, mask=inside)
        tl.store(to_v, b * hx + 2.0 * dg * vx + df * ux, mask=inside)
        tl.store(to_v + 1, b * hy + 2.0 * dg * vy + df * uy, mask=inside)
        tl.store(to_v + 2, b * hz + 2.0 * dg * vz + df * uz, mask=inside)
        store3(
            by_normal, place, gx + along * gx + up * qx, gy + along * gy + up * qy,
            gz + along * gz + up * qz, inside,
        )  # fmt: skip


@kernel
def _half(mask, row, column, dr, dc, height, width):
    """Share of each of the two one-sided differences at a texel along (dr, dc): towards it from before, and on."""
    own = inside_chart(mask, row, column, height, width)
    before = own * inside_chart(mask, row - dr, column - dc, height, width)
    after = own * inside_chart(mask, row + dr, column + dc, height, width)
    count = tl.maximum(before + after, 1.0)
    return before / count, after / count


@kernel
def _gathered(by, mask, at, dr, dc, c, inside, height, width):
    """Derivative with respect to a texel's value from the differences along one axis, component `c`."""
    row, column = at // width, at % width
    step = dr * width + dc
    before, after = _half(mask, row, column, dr, dc, height, width)
    _, last_after = _half(mask, row - dr, column - dc, dr, dc, height, width)
    next_before, _ = _half(mask, row + dr, column + dc, dr, dc, height, width)
    total = (before - after) * tl.load(by + 4 * at + c, mask=inside, other=0.0)
    total += last_after * tl.load(by + 4 * (at - step) + c, mask=last_after > 0, other=0.0)
    total -= next_before * tl.load(by + 4 * (at + step) + c, mask=next_before > 0, other=0.0)
    return total


@kernel
def gather_surface(
    by_u, by_v, by_normal, mask, frame, to_positions, to_normals, views, height, width,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """d loss / d positions and / d normals of frame `program_id(1)`, over the views that show it."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    texels = height * width
    inside = at < texels
    own = tl.program_id(1).to(tl.int64)
    x = tl.zeros([BLOCK], by_u.dtype.element_ty)
    y, z, nx, ny, nz = x, x, x, x, x
    view = 0
    while view < views:
        if tl.load(frame + view) == own:
            start = (
                0 * own + view
            ) * texels  # 64 bits: of 128 views of 2048 texels 32 are not enough
            u, v = by_u + 4 * start, by_v + 4 * start
            x += _gathered(u, mask, at, 0, 1, 0, inside, height, width)
            x += _gathered(v, mask, at, 1, 0, 0, inside, height, width)
            y += _gathered(u, mask, at, 0, 1, 1, inside, height, width)
            y += _gathered(v, mask, at, 1, 0, 1, inside, height, width)
            z += _gathered(u, mask, at, 0, 1, 2, inside, height, width)
            z += _gathered(v, mask, at, 1, 0, 2, inside, height, width)
            ax, ay, az = load3(by_normal + 3 * start, at, inside)
            nx, ny, nz = nx + ax, ny + ay, nz + az
        view += 1
    store3(to_positions + own * texels * 3, at, x, y, z, inside)
    store3(to_normals + own * texels * 3, at, nx, ny, nz, inside)


@kernel
def gather_displacement(by_u, by_v, mask, rows, out, views, height, width, BLOCK: tl.constexpr):
    """d loss / d displacement map `program_id(1)`, over the views that use it."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    texels = height * width
    inside = at < texels
    own = tl.program_id(1).to(tl.int64)
    total = tl.zeros([BLOCK], by_u.dtype.element_ty)
    view = 0
    while view < views:
        if tl.load(rows + view) == own:
            start = (0 * own + view) * texels
            total += _gathered(by_u + 4 * start, mask, at, 0, 1, 3, inside, height, width)
            total += _gathered(by_v + 4 * start, mask, at, 1, 0, 3, inside, height, width)
        view += 1
    tl.store(out + own * texels + at, total, mask=inside)
