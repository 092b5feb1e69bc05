"""Triton kernels that build the hierarchy of a multigrid cycle: damping, Galerkin products, dense inverse.

One launch a level where torch takes about twenty. Products are float64 down to the coarsest level, as in
`multigrid.py`; what the cycle reads is float32.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportAssignmentType=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.definite_kernels import eliminated
from hrnfit.geometry.launched import kernel


@kernel
def _inverse_of(M, n, N, K: tl.constexpr, KP: tl.constexpr):
    """Inverse of symmetric positive definite blocks (KP, KP, nodes), K of each counted, by Gauss-Jordan elimination."""
    a, b = tl.arange(0, KP)[:, None, None], tl.arange(0, KP)[None, :, None]
    for p in tl.static_range(K):
        row = tl.sum(tl.where(a == p, M, 0.0), axis=0)
        column = tl.sum(tl.where(b == p, M, 0.0), axis=1)
        pivot = tl.sum(tl.where(tl.arange(0, KP)[:, None] == p, row, 0.0), axis=0)
        pivot = 1.0 / tl.where(n < N, pivot, 1.0)
        row = row * pivot[None, :]
        M = M - column[:, None, :] * row[None, :, :]
        M = tl.where(a == p, row[None, :, :], M)
        M = tl.where(b == p, -column[:, None, :] * pivot[None, None, :], M)
        M = tl.where((a == p) & (b == p), pivot[None, None, :], M)
    return M


@kernel
def begin_hierarchy(
    blocks, form, stiffness, damping, damped, single, inverse, N,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, FORMED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The finest level, one offset a program: `damped` in float64 and, for the cycle, `single` in float32 and the
    inverse of the node blocks. Not FORMED: the form is added to `single`, which then has 25 offsets."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = (n < N)[None, None, :]
    a, b = tl.arange(0, KP)[:, None, None], tl.arange(0, KP)[None, :, None]
    mask = (a < K) & (b < K) & inside
    # of every channel, since masks of blocks are not joined with scalars
    offset = tl.program_id(1) + 0 * a
    SIDE: tl.constexpr = 2 * REACH + 1
    WIDE: tl.constexpr = SIDE if FORMED else 5
    dy, dx = offset // WIDE - WIDE // 2, offset % WIDE - WIDE // 2
    near = (dy >= -REACH) & (dy <= REACH) & (dx >= -REACH) & (dx <= REACH)
    place = (a * K + b) * N + n[None, None, :]
    there = ((dy + REACH) * SIDE + dx + REACH) * K * K * N + place
    value = tl.load(blocks + there, mask=mask & near, other=0.0)
    middle = (dy == 0) & (dx == 0)
    more = tl.load(stiffness + a * N + n[None, None, :], mask=mask & middle & (a == b), other=0.0)
    value += tl.load(damping) * more
    tl.store(damped + there, value, mask=mask & near)
    factor = tl.load(form + ((dy + 2) * 5 + dx + 2) * N + n[None, None, :], mask=inside, other=0.0)
    formed = (value + tl.where(a == b, factor, 0.0)).to(tl.float32)
    place += offset * K * K * N
    tl.store(single + place, value.to(tl.float32) if FORMED else formed, mask=mask)
    if tl.program_id(1) == (WIDE * WIDE) // 2:
        place = (a * K + b) * N + n[None, None, :]
        tl.store(inverse + place, _inverse_of(formed, n, N, K, KP), mask=mask)


@kernel
def coarsen(
    blocks, products, form, out, single, inverse, n_fine, m,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The Galerkin product of a stencil (offsets, K, K, n, n) with interpolation on both sides: `out` (25, K, K, m, m)
    in float64; unless it is the LAST also what the cycle reads in float32, the form added, and the inverse of
    its node blocks.

    A program has one offset (e, f) of its nodes: children (y, x) of the node are coupled with children
    (t, u) of its neighbour by the fine offset between them. products: of `Ladder`.
    """
    M, N = m * m, n_fine * n_fine
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    offset = tl.program_id(1)
    e, f = offset // 5, offset % 5
    i, j = n // m, n % m
    inside = n < M
    SIDE: tl.constexpr = 2 * REACH + 1
    # pairs of channels, and pairs of columns: of the child, and of the neighbour's child
    ab, xu = tl.arange(0, KP * KP)[None, :, None], tl.arange(0, 16)[:, None, None]
    counted = (ab // KP < K) & (ab % KP < K)
    entry = blocks + ((ab // KP) * K + ab % KP) * N
    x = xu // 4
    dx = 2 * (f - 2) + xu % 4 - x
    column = 2 * j[None, None, :] - 1 + x
    near = inside[None, None, :] & (dx >= -REACH) & (dx <= REACH)
    at = ((j[None, None, :] * 5 + f) * 4 + x) * 5 + dx + 2
    across = tl.load(products + at, mask=near, other=0.0)
    sums = tl.zeros((16, KP * KP, BLOCK), tl.float64)
    for yt in range(0, 16):
        y = yt // 4
        dy = 2 * (e - 2) + yt % 4 - y
        if (dy >= -REACH) & (dy <= REACH):
            down = tl.load(products + ((i * 5 + e) * 4 + y) * 5 + dy + 2, mask=inside, other=0.0)
            weight = across * down[None, None, :]
            row = (2 * i - 1 + y)[None, None, :]
            where = ((dy + REACH) * SIDE + dx + REACH) * K * K * N + row * n_fine + column
            mask = counted & (weight != 0)
            sums += weight * tl.load(entry + where, mask=mask, other=0.0)
    total = tl.reshape(tl.sum(sums, axis=0), (KP, KP, BLOCK))
    a, b = tl.arange(0, KP)[:, None, None], tl.arange(0, KP)[None, :, None]
    mask = (a < K) & (b < K) & inside[None, None, :]
    place = (a * K + b) * M + n[None, None, :]
    tl.store(out + offset * K * K * M + place, total, mask=mask)
    if not LAST:
        factor = tl.load(form + offset * M + n, mask=inside, other=0.0)
        formed = (total + tl.where(a == b, factor[None, None, :], 0.0)).to(tl.float32)
        tl.store(single + offset * K * K * M + place, formed, mask=mask)
        if offset == 12:
            tl.store(inverse + place, _inverse_of(formed, n, M, K, KP), mask=mask)


@kernel
def invert_coarsest(
    blocks, form, room, out, n, K: tl.constexpr, REACH: tl.constexpr, MP: tl.constexpr
):
    """Dense inverse (M, M), M = K n n, of a small stencil and its form, in the order (channel, row, column), in
    float64. room: see `eliminated`."""
    N = n * n
    M = K * N
    r, c = tl.arange(0, MP)[:, None], tl.arange(0, MP)[None, :]
    at, to = r % N, c % N
    dy, dx = to // n - at // n, to % n - at % n
    mask = (r < M) & (c < M)
    SIDE: tl.constexpr = 2 * REACH + 1
    near = mask & (dy >= -REACH) & (dy <= REACH) & (dx >= -REACH) & (dx <= REACH)
    o = (dy + REACH) * SIDE + dx + REACH
    A = tl.load(blocks + ((o * K + r // N) * K + c // N) * N + at, mask=near, other=0.0)
    far = mask & (r // N == c // N) & (dy >= -2) & (dy <= 2) & (dx >= -2) & (dx <= 2)
    A += tl.load(form + ((dy + 2) * 5 + dx + 2) * N + at, mask=far, other=0.0)
    tl.store(out + r * M + c, eliminated(A, room, M, MP).to(tl.float32), mask=mask)
