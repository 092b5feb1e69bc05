"""Triton: vertex normals, sparse rows and pinhole projection, each with its derivative.

Vertex normals gather over a table of the triangles around each vertex, which names the two other corners in
the triangle's order (-1: none). Points are (B, N, 3), side by side.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def load3(base, index, inside):
    """Three numbers of a row; zeros where not `inside`."""
    x = tl.load(base + 3 * index, mask=inside, other=0.0)
    y = tl.load(base + 3 * index + 1, mask=inside, other=0.0)
    z = tl.load(base + 3 * index + 2, mask=inside, other=0.0)
    return x, y, z


@kernel
def store3(base, index, x, y, z, inside):
    """Write three numbers of a row."""
    tl.store(base + 3 * index, x, mask=inside)
    tl.store(base + 3 * index + 1, y, mask=inside)
    tl.store(base + 3 * index + 2, z, mask=inside)


@kernel
def add3(base, index, x, y, z, inside):
    """Add to three numbers of a row, atomically."""
    t = base.dtype.element_ty
    tl.atomic_add(base + 3 * index, x.to(t), mask=inside, sem="relaxed")
    tl.atomic_add(base + 3 * index + 1, y.to(t), mask=inside, sem="relaxed")
    tl.atomic_add(base + 3 * index + 2, z.to(t), mask=inside, sem="relaxed")


@kernel
def quad(a, b, c, d):
    """Four numbers of a row side by side, (rows, 4): memory takes them at once."""
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), [a.shape[0], 4])


@kernel
def unquad(four):
    """The columns of (rows, 4)."""
    even, odd = tl.split(tl.reshape(four, [four.shape[0], 2, 2]))
    a, c = tl.split(even)
    b, d = tl.split(odd)
    return a, b, c, d


@kernel
def cross(ax, ay, az, bx, by, bz):
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@kernel
def _around(around, points, n, k, inside, AROUND: tl.constexpr):
    """Whether a vertex has its triangle `k`, the other corners of that, and where they lie."""
    entry = (n * AROUND + k) * 2
    there = inside & (k < AROUND)
    a = tl.load(around + entry, mask=there, other=-1)
    b = tl.load(around + entry + 1, mask=there, other=-1)
    there = a >= 0
    ax, ay, az = load3(points, a, there)
    bx, by, bz = load3(points, b, there)
    return there, a, b, ax, ay, az, bx, by, bz


@kernel
def _more(around, n, k, inside, AROUND: tl.constexpr):
    """Whether a vertex of the program has a triangle `k`."""
    found = tl.load(around + (n * AROUND + k) * 2, mask=inside & (k < AROUND), other=-1) >= 0
    return tl.max(tl.max(found.to(tl.int32), 1), 0)


@kernel
def unit_normals(
    points, around, sums, out, vertices, AROUND: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum of the cross products around each vertex, and its unit vector; zero where there is none.

    A vertex takes WIDE triangles at a time, so that their loads do not wait for each other.
    """
    n = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[:, None]
    inside = n < vertices
    start = tl.program_id(1).to(tl.int64) * vertices * 3
    base = points + start
    x, y, z = load3(base, n, inside)
    tx = tl.zeros([BLOCK, WIDE], points.dtype.element_ty)
    ty, tz = tx, tx
    first, more = 0, 1
    while more > 0:
        k = first + tl.arange(0, WIDE)[None, :]
        there, _, _, ax, ay, az, bx, by, bz = _around(around, base, n, k, inside, AROUND)
        cx, cy, cz = cross(ax - x, ay - y, az - z, bx - x, by - y, bz - z)
        tx += tl.where(there, cx, 0.0)
        ty += tl.where(there, cy, 0.0)
        tz += tl.where(there, cz, 0.0)
        first += WIDE
        more = _more(around, n, first, inside, AROUND)
    sx, sy, sz = tl.sum(tx, 1)[:, None], tl.sum(ty, 1)[:, None], tl.sum(tz, 1)[:, None]
    square = sx * sx + sy * sy + sz * sz
    scale = tl.where(square > 0, 1.0 / tl.sqrt(tl.where(square > 0, square, 1.0)), 0.0)
    store3(sums + start, n, sx, sy, sz, inside)
    store3(out + start, n, sx * scale, sy * scale, sz * scale, inside)


@kernel
def _by_sum(sums, grad, n, inside):
    """Gradient with respect to a vertex's sum, given that with respect to its unit vector."""
    sx, sy, sz = load3(sums, n, inside)
    gx, gy, gz = load3(grad, n, inside)
    square = sx * sx + sy * sy + sz * sz
    scale = tl.where(square > 0, 1.0 / tl.sqrt(tl.where(square > 0, square, 1.0)), 0.0)
    along = (gx * sx + gy * sy + gz * sz) * scale * scale
    return (gx - along * sx) * scale, (gy - along * sy) * scale, (gz - along * sz) * scale


@kernel
def unit_normals_backward(
    points, around, sums, grad, out, vertices, AROUND: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """d loss / d points: (next - previous) x G for each triangle around, G summed over its corners."""
    n = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[:, None]
    inside = n < vertices
    start = tl.program_id(1).to(tl.int64) * vertices * 3
    own_x, own_y, own_z = _by_sum(sums + start, grad + start, n, inside)
    rx = tl.zeros([BLOCK, WIDE], points.dtype.element_ty)
    ry, rz = rx, rx
    first, more = 0, 1
    while more > 0:
        k = first + tl.arange(0, WIDE)[None, :]
        there, a, b, ax, ay, az, bx, by, bz = _around(around, points + start, n, k, inside, AROUND)
        gax, gay, gaz = _by_sum(sums + start, grad + start, a, there)
        gbx, gby, gbz = _by_sum(sums + start, grad + start, b, there)
        gx, gy, gz = own_x + gax + gbx, own_y + gay + gby, own_z + gaz + gbz
        cx, cy, cz = cross(ax - bx, ay - by, az - bz, gx, gy, gz)
        rx += tl.where(there, cx, 0.0)
        ry += tl.where(there, cy, 0.0)
        rz += tl.where(there, cz, 0.0)
        first += WIDE
        more = _more(around, n, first, inside, AROUND)
    rx, ry, rz = tl.sum(rx, 1)[:, None], tl.sum(ry, 1)[:, None], tl.sum(rz, 1)[:, None]
    store3(out + start, n, rx, ry, rz, inside)


@kernel
def rows(
    values, index, weights, out, count, size, K: tl.constexpr, C: tl.constexpr, BLOCK: tl.constexpr
):
    """out[b, n] = sum over k of weights[n, k] values[b, index[n, k]]; weight 0 reads nothing."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    base = values + tl.program_id(1).to(tl.int64) * size * C
    to = out + tl.program_id(1).to(tl.int64) * count * C
    for c in tl.static_range(C):
        total = tl.zeros([BLOCK], values.dtype.element_ty)
        for k in range(K):
            w = tl.load(weights + n * K + k, mask=inside, other=0.0)
            i = tl.load(index + n * K + k, mask=inside, other=0)
            total += w * tl.load(base + i * C + c, mask=w != 0, other=0.0)
        tl.store(to + n * C + c, total, mask=inside)


@kernel
def rows_backward(
    grad, index, weights, out, count, size,
    K: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add weights[n, k] grad[b, n] to out[b, index[n, k]], whose rows are WIDE numbers long: a power of two, so that
    a row is added at once."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    c = tl.arange(0, WIDE)[None, :]
    base = grad + tl.program_id(1).to(tl.int64) * count * C
    to = out + tl.program_id(1).to(tl.int64) * size * WIDE
    g = tl.load(base + n[:, None] * C + c, mask=inside[:, None] & (c < C), other=0.0)
    some = tl.max((g != 0).to(tl.int32), 1) > 0
    for k in tl.static_range(K):
        w = tl.load(weights + n * K + k, mask=inside, other=0.0)
        i = tl.load(index + n * K + k, mask=inside, other=0)
        wanted = (some & (w != 0))[:, None]
        tl.atomic_add(to + i[:, None] * WIDE + c, w[:, None] * g, mask=wanted, sem="relaxed")


@kernel
def _row(matrix, at):
    """Four numbers of a row of a matrix of rows of four."""
    base = matrix + 4 * at
    return tl.load(base), tl.load(base + 1), tl.load(base + 2), tl.load(base + 3)


@kernel
def _in_camera(points, n, inside, T):
    """Points in the frame of a 4 x 4 matrix."""
    x, y, z = load3(points, n, inside)
    a, b, c, d = _row(T, 0)
    e, f, g, h = _row(T, 1)
    i, j, k, m = _row(T, 2)
    u = a * x + b * y + c * z + d
    v = e * x + f * y + g * z + h
    return u, v, i * x + j * y + k * z + m


@kernel
def project(points, frame, K, T, out, count, BLOCK: tl.constexpr):
    """Pixels and depth of world points (T, N, 3) in view `program_id(1)`, which shows its `frame`."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    view = tl.program_id(1).to(tl.int64)
    own = tl.load(frame + view)
    u, v, z = _in_camera(points + own * count * 3, n, inside, T + view * 16)
    z_safe = tl.where(inside, z, 1.0)
    u, v = u / z_safe, v / z_safe
    k = K + view * 9
    px = tl.load(k) * u + tl.load(k + 1) * v + tl.load(k + 2)
    py = tl.load(k + 3) * u + tl.load(k + 4) * v + tl.load(k + 5)
    store3(out + view * count * 3, n, px, py, z, inside)


@kernel
def project_backward(points, frame, K, T, grad, out, count, views, BLOCK: tl.constexpr):
    """d loss / d world points of frame `program_id(1)`, over the views that show it."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    own = tl.program_id(1).to(tl.int64)
    rx = tl.zeros([BLOCK], points.dtype.element_ty)
    ry, rz = rx, rx
    view = 0
    while view < views:
        if tl.load(frame + view) == own:
            u, v, z = _in_camera(points + own * count * 3, n, inside, T + view * 16)
            z = tl.where(inside, z, 1.0)
            gx, gy, gz = load3(grad + view * count * 3, n, inside)
            k = K + view * 9
            gu = (tl.load(k) * gx + tl.load(k + 3) * gy) / z
            gv = (tl.load(k + 1) * gx + tl.load(k + 4) * gy) / z
            gz = gz - (gu * u + gv * v) / z
            a, b, c, _ = _row(T + view * 16, 0)
            e, f, g, _ = _row(T + view * 16, 1)
            i, j, m, _ = _row(T + view * 16, 2)
            rx += a * gu + e * gv + i * gz
            ry += b * gu + f * gv + j * gz
            rz += c * gu + g * gv + m * gz
        view += 1
    store3(out + own * count * 3, n, rx, ry, rz, inside)
