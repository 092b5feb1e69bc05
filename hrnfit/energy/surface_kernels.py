"""Triton kernels of the surface at texels: points and normals from those of vertices, heights, and slopes along normals."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.energy.sample_kernels import between_pixels
from hrnfit.geometry.launched import kernel


@kernel
def _corner(values, at, weight, inside, c: tl.constexpr):
    return weight * tl.load(values + 3 * at + c, mask=inside, other=0.0)


@kernel
def _between(values, a, b, c, wa, wb, wc, inside, axis: tl.constexpr):
    """One coordinate of values at vertices, inside triangles."""
    value = _corner(values, a, wa, inside, axis) + _corner(values, b, wb, inside, axis)
    return value + _corner(values, c, wc, inside, axis)


@kernel
def _height(heights, row, column, S, D, inside):
    """A map (D, D) at the centre of texels of a square of S."""
    y, x = (row + 0.5) / S * D - 0.5, (column + 0.5) / S * D - 0.5
    return between_pixels(heights, y, x, D, inside)


@kernel
def surface(
    vertices, directions, corners, barycentric, flat, heights, frame, shown, head, normals, P, N, S, D,
    RAISED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Points and unit normals (F, P, 3) of texels on frames' vertices (T, N, 3) with normals `directions`. RAISED: of every
    view, above the frame it shows by the row of heights (K, D, D) it shows; else of every frame."""
    p, f = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1)
    inside = p < P
    own = tl.load(frame + f) if RAISED else f
    a = tl.load(corners + 3 * p, mask=inside, other=0) + own * N
    b = tl.load(corners + 3 * p + 1, mask=inside, other=0) + own * N
    c = tl.load(corners + 3 * p + 2, mask=inside, other=0) + own * N
    wa = tl.load(barycentric + 3 * p, mask=inside, other=0.0)
    wb = tl.load(barycentric + 3 * p + 1, mask=inside, other=0.0)
    wc = tl.load(barycentric + 3 * p + 2, mask=inside, other=0.0)
    nx = _between(directions, a, b, c, wa, wb, wc, inside, 0)
    ny = _between(directions, a, b, c, wa, wb, wc, inside, 1)
    nz = _between(directions, a, b, c, wa, wb, wc, inside, 2)
    length = tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), 1e-9)
    nx, ny, nz = nx / length, ny / length, nz / length
    x = _between(vertices, a, b, c, wa, wb, wc, inside, 0)
    y = _between(vertices, a, b, c, wa, wb, wc, inside, 1)
    z = _between(vertices, a, b, c, wa, wb, wc, inside, 2)
    if RAISED:
        place = tl.load(flat + p, mask=inside, other=0).to(tl.int32)
        row = tl.load(shown + f)
        high = _height(heights + row * D * D, place // S, place % S, S, D, inside)
        x, y, z = x + high * nx, y + high * ny, z + high * nz
    at = 3 * (f * P + p)
    tl.store(head + at, x, mask=inside)
    tl.store(head + at + 1, y, mask=inside)
    tl.store(head + at + 2, z, mask=inside)
    tl.store(normals + at, nx, mask=inside)
    tl.store(normals + at + 1, ny, mask=inside)
    tl.store(normals + at + 2, nz, mask=inside)


@kernel
def slopes_along(
    jacobian, normals, of_view, basis, shown, out, P, K: tl.constexpr, BLOCK: tl.constexpr
):
    """out (V, 3, K, P) = jacobian (V, 3, 3, P) along each view's normals, times the view's column of basis (K, K)."""
    p, v = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1).to(tl.int64)
    inside = p < P
    n = normals + 3 * (tl.load(of_view + v) * P + p)
    x = tl.load(n, mask=inside, other=0.0)
    y = tl.load(n + 1, mask=inside, other=0.0)
    z = tl.load(n + 2, mask=inside, other=0.0)
    row = tl.load(shown + v)
    for c in tl.static_range(3):
        J = jacobian + 3 * (3 * v + c) * P + p
        value = x * tl.load(J, mask=inside, other=0.0)
        value += y * tl.load(J + P, mask=inside, other=0.0)
        value += z * tl.load(J + 2 * P, mask=inside, other=0.0)
        for k in tl.static_range(K):
            share = tl.load(basis + k * K + row).to(tl.float32)
            tl.store(out + ((3 * v + c) * K + k) * P + p, share * value, mask=inside)
