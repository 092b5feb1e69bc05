"""Triton kernels of map stencils: product, Chebyshev steps, transfers between levels, node blocks' inverse.

Maps are (c, k, H, W), stencils as in `stencil.py`. A program takes a stretch of nodes with all channels of one
right-hand side; neighbouring lanes read neighbouring nodes, and every entry of a stencil is read once.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def _applied(
    blocks, form, x, n, inside, H, W, a, K: tl.constexpr, REACH: tl.constexpr, KIND: tl.constexpr
):
    """A x at nodes n, (KP, BLOCK); `x` points at one right-hand side."""
    N = H * W
    i, j = n // W, n % W
    row = a[:, None] < K
    out = tl.zeros((a.shape[0], n.shape[0]), KIND)
    for dy in tl.static_range(-2, 3):
        for dx in tl.static_range(-2, 3):
            there = (i + dy >= 0) & (i + dy < H) & (j + dx >= 0) & (j + dx < W) & inside
            at = n + dy * W + dx
            f = tl.load(form + ((dy + 2) * 5 + dx + 2) * N + n, mask=there, other=0.0)
            own = tl.load(x + a[:, None] * N + at[None, :], mask=row & there[None, :], other=0.0)
            out += f[None, :] * own
            if dy * dy <= REACH * REACH and dx * dx <= REACH * REACH:
                s = (dy + REACH) * (2 * REACH + 1) + dx + REACH
                for b in tl.static_range(K):
                    value = tl.load(x + b * N + at, mask=there, other=0.0)
                    entry = blocks + ((s * K + a[:, None]) * K + b) * N + n[None, :]
                    mask = row & there[None, :]
                    out += tl.load(entry, mask=mask, other=0.0) * value[None, :]
    return out


@kernel
def _per_node(inverse, r, n, inside, N, a, K: tl.constexpr):
    """Node blocks times (KP, BLOCK)."""
    out = tl.zeros_like(r)
    mask = (a[:, None] < K) & inside[None, :]
    for b in tl.static_range(K):
        value = tl.sum(tl.where(a[:, None] == b, r, 0.0), axis=0)
        entry = inverse + (a[:, None] * K + b) * N + n[None, :]
        out += tl.load(entry, mask=mask, other=0.0) * value[None, :]
    return out


@kernel
def product(
    blocks, form, x, out, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = A x."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)
    inside = n < N
    side = tl.program_id(1) * K * N
    kind: tl.constexpr = out.dtype.element_ty
    value = _applied(blocks, form, x + side, n, inside, H, W, a, K, REACH, kind)
    where = side + a[:, None] * N + n[None, :]
    tl.store(out + where, value, mask=(a[:, None] < K) & inside[None, :])


@kernel
def residual(
    blocks, form, right, x, out, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = right - A x."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)
    inside = n < N
    side = tl.program_id(1) * K * N
    value = _applied(blocks, form, x + side, n, inside, H, W, a, K, REACH, tl.float32)
    where = side + a[:, None] * N + n[None, :]
    mask = (a[:, None] < K) & inside[None, :]
    tl.store(out + where, tl.load(right + where, mask=mask, other=0.0) - value, mask=mask)


@kernel
def jacobi(
    inverse, right, out, share, H, W, K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr
):
    """out = share D^-1 right: the first step from zero."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)
    inside = n < N
    where = tl.program_id(1) * K * N + a[:, None] * N + n[None, :]
    mask = (a[:, None] < K) & inside[None, :]
    r = tl.load(right + where, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + where, share * _per_node(inverse, r, n, inside, N, a, K), mask=mask)


@kernel
def step(
    blocks, form, inverse, right, x, move, out, moved, keep, share, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, BLOCK: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """moved = keep move + share D^-1 (right - A x), out = x + moved. FIRST: there is no earlier move,
    and `moved` is stored for the second step."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)
    inside = n < N
    side = tl.program_id(1) * K * N
    where = side + a[:, None] * N + n[None, :]
    mask = (a[:, None] < K) & inside[None, :]
    value = _applied(blocks, form, x + side, n, inside, H, W, a, K, REACH, tl.float32)
    r = tl.load(right + where, mask=mask, other=0.0).to(tl.float32) - value
    change = share * _per_node(inverse, r, n, inside, N, a, K)
    if FIRST:
        tl.store(moved + where, change, mask=mask)
    else:
        change += keep * tl.load(move + where, mask=mask, other=0.0)
    tl.store(out + where, tl.load(x + where, mask=mask, other=0.0) + change, mask=mask)


@kernel
def restrict(fine, out, fine_H, fine_W, H, W, BLOCK: tl.constexpr):
    """out = P^T fine for one channel: weights 1/4, 3/4, 3/4, 1/4 along each side, clamped at the border."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    plane = tl.program_id(1)
    inside = n < N
    i, j = n // W, n % W
    total = tl.zeros((BLOCK,), tl.float32)
    for y in tl.static_range(4):
        row = 2 * i - 1 + y
        wy = _share(row, y, H, fine_H)
        for x in tl.static_range(4):
            column = 2 * j - 1 + x
            w = wy * _share(column, x, W, fine_W)
            at = plane * fine_H * fine_W + row * fine_W + column
            total += w * tl.load(fine + at, mask=inside & (w > 0), other=0.0)
    tl.store(out + plane * N + n, total, mask=inside)


@kernel
def _share(fine, tap: tl.constexpr, H, fine_H):
    """Weight of a coarse node in the fine one that is its `tap`-th: 0 where that does not exist."""
    # a fine node whose far neighbour lies beyond the border takes the near one twice
    alone = ((fine == 0) & (tap == 1)) | ((fine == 2 * H - 1) & (tap == 2))
    weight = tl.where(alone, 1.0, 0.75 if tap == 1 or tap == 2 else 0.25)
    return tl.where((fine >= 0) & (fine < fine_H), weight, 0.0)


@kernel
def prolong(coarse, x, out, H, W, fine_H, fine_W, BLOCK: tl.constexpr):
    """out = x + P coarse for one channel."""
    N = fine_H * fine_W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    plane = tl.program_id(1)
    inside = n < N
    i, j = n // fine_W, n % fine_W
    near_i, near_j = i // 2, j // 2
    far_i = tl.minimum(tl.maximum(near_i + 2 * (i % 2) - 1, 0), H - 1)
    far_j = tl.minimum(tl.maximum(near_j + 2 * (j % 2) - 1, 0), W - 1)
    base = coarse + plane * H * W
    total = 0.5625 * tl.load(base + near_i * W + near_j, mask=inside, other=0.0)
    total += 0.1875 * tl.load(base + near_i * W + far_j, mask=inside, other=0.0)
    total += 0.1875 * tl.load(base + far_i * W + near_j, mask=inside, other=0.0)
    total += 0.0625 * tl.load(base + far_i * W + far_j, mask=inside, other=0.0)
    total += tl.load(x + plane * N + n, mask=inside, other=0.0)
    tl.store(out + plane * N + n, total, mask=inside)


@kernel
def dense(inverse, right, out, M, MP: tl.constexpr):
    """out = inverse right for one side, M unknowns."""
    row, column = tl.arange(0, MP), tl.arange(0, MP)
    side = tl.program_id(0) * M
    r = tl.load(right + side + column, mask=column < M, other=0.0)
    entry = inverse + row[:, None] * M + column[None, :]
    A = tl.load(entry, mask=(row[:, None] < M) & (column[None, :] < M), other=0.0)
    tl.store(out + side + row, tl.sum(A * r[None, :], axis=1), mask=row < M)


@kernel
def invert(blocks, out, N, K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr):
    """Inverse of the symmetric positive definite blocks (K, K, N), by Gauss-Jordan elimination."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)[:, None, None]
    b = tl.arange(0, KP)[None, :, None]
    place = (a * K + b) * N + n[None, None, :]
    mask = (a < K) & (b < K) & (n < N)[None, None, :]
    M = tl.load(blocks + place, mask=mask, other=0.0)
    for p in tl.static_range(K):
        row = tl.sum(tl.where(a == p, M, 0.0), axis=0)
        column = tl.sum(tl.where(b == p, M, 0.0), axis=1)
        own = tl.sum(tl.where(tl.arange(0, KP)[:, None] == p, row, 0.0), axis=0)
        pivot = 1.0 / tl.where(n < N, own, 1.0)
        row = row * pivot[None, :]
        M = M - column[:, None, :] * row[None, :, :]
        M = tl.where(a == p, row[None, :, :], M)
        M = tl.where(b == p, -column[:, None, :] * pivot[None, None, :], M)
        M = tl.where((a == p) & (b == p), pivot[None, None, :], M)
    tl.store(out + place, M, mask=mask)


@kernel
def begin(right, solved, direction, rest, small, square, M, BLOCK: tl.constexpr):
    """Conjugate gradients from zero: rest = right, and this program's part of its square."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    side, mask = tl.program_id(1), n < M
    where = side * M + n
    r = tl.load(right + where, mask=mask, other=0.0)
    zero = tl.zeros_like(r)
    tl.store(solved + where, zero, mask=mask)
    tl.store(direction + where, zero, mask=mask)
    tl.store(rest + where, r, mask=mask)
    tl.store(small + where, r.to(tl.float32), mask=mask)
    tl.store(square + side * tl.num_programs(0) + tl.program_id(0), tl.sum(r * r))


@kernel
def dot(a, b, out, M, BLOCK: tl.constexpr):
    """This program's part of the product of a (float64) and b (float32)."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    side, mask = tl.program_id(1), n < M
    x = tl.load(a + side * M + n, mask=mask, other=0.0)
    y = tl.load(b + side * M + n, mask=mask, other=0.0)
    tl.store(out + side * tl.num_programs(0) + tl.program_id(0), tl.sum(x * y))


@kernel
def _total(parts, side, G, GP: tl.constexpr):
    """Sum of what G programs have left for a side."""
    at = tl.arange(0, GP)
    return tl.sum(tl.load(parts + side * G + at, mask=at < G, other=0.0))


@kernel
def turn(pulled, direction, energy, before, G, M, GP: tl.constexpr, BLOCK: tl.constexpr):
    """direction = pulled + energy / before direction."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    side, mask = tl.program_id(1), n < M
    where = side * M + n
    share = _total(energy, side, G, GP) / tl.maximum(_total(before, side, G, GP), 1e-300)
    z = tl.load(pulled + where, mask=mask, other=0.0)
    d = tl.load(direction + where, mask=mask, other=0.0)
    tl.store(direction + where, z + share * d, mask=mask)


@kernel
def product_dot(
    blocks, form, x, out, parts, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = A x, float64, and this program's part of x A x."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)
    inside = n < N
    side = tl.program_id(1) * K * N
    value = _applied(blocks, form, x + side, n, inside, H, W, a, K, REACH, tl.float64)
    where = side + a[:, None] * N + n[None, :]
    mask = (a[:, None] < K) & inside[None, :]
    tl.store(out + where, value, mask=mask)
    own = tl.load(x + where, mask=mask, other=0.0)
    at = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + at, tl.sum(tl.where(mask, own * value, 0.0)))


@kernel
def advance(
    solved, rest, small, direction, image, energy, curved, square, first, after, tolerance,
    G, GD, M, GP: tl.constexpr, GDP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One step along the direction, unless the side is solved; `square` of the rest before, `first` of the
    right-hand side, `after` this program's part of the new one."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    side, mask = tl.program_id(1), n < M
    where = side * M + n
    moving = _total(square, side, G, GP) > tolerance * _total(first, side, G, GP)
    length = _total(energy, side, G, GP) / tl.maximum(_total(curved, side, GD, GDP), 1e-300)
    length = tl.where(moving, length, 0.0)
    d = tl.load(direction + where, mask=mask, other=0.0)
    x = tl.load(solved + where, mask=mask, other=0.0) + length * d
    r = tl.load(rest + where, mask=mask, other=0.0)
    r -= length * tl.load(image + where, mask=mask, other=0.0)
    tl.store(solved + where, x, mask=mask)
    tl.store(rest + where, r, mask=mask)
    tl.store(small + where, r.to(tl.float32), mask=mask)
    tl.store(after + side * tl.num_programs(0) + tl.program_id(0), tl.sum(r * r))
