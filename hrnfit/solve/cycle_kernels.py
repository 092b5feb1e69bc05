"""Triton kernels of a multigrid cycle: what one level does, and the two last levels at once.

The laws stand in `multigrid.py` and `cycle_plain.py`. The last levels are the work of one program per right-hand
side, which waits for its own threads only.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportAssignmentType=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.solve.stencil_kernels import around, image, interpolated, own, per_node


@kernel
def smooth(
    blocks, form, inverse, right, x, more, move, out, moved, rest, parts, keep, share, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, FORMED: tl.constexpr,
    BLOCK: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """One Chebyshev step: out = x + change with change = keep move + share D^-1 (right - A x).

    KIND "first": from x plus the interpolated coarse `more`, with no earlier move; the change is stored in `moved`.
    "second": goes on from x. "last": the same, and this program's part of the product of `rest` (float64) and
    out is left in `parts`.
    """
    N, M = H * W, ((H + 1) // 2) * ((W + 1) // 2)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)[:, None]
    side = tl.program_id(1) * K
    like: tl.constexpr = "raised" if KIND == "first" else "plain"
    where = side * N + a * N + n[None, :]
    mask = (a < K) & (n < N)[None, :]
    x += side * N
    more += side * M
    value = image(blocks, form, x, more, 0.0, n, n < N, H, W, K, KP, REACH, FORMED, like)
    r = tl.load(right + where, mask=mask, other=0.0) - value
    change = share * per_node(inverse, r, n, n < N, N, K, KP)
    if KIND == "first":
        tl.store(moved + where, change, mask=mask)
    else:
        change += keep * tl.load(move + where, mask=mask, other=0.0)
    end = own(x, more, 0.0, n, mask, H, W, KP, like) + change
    tl.store(out + where, end, mask=mask)
    if KIND == "last":
        pull = tl.load(rest + where, mask=mask, other=0.0) * end.to(tl.float64)
        at = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
        tl.store(parts + at, tl.sum(tl.where(mask, pull, 0.0)))


@kernel
def residual(
    blocks, form, right, x, out, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, FORMED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """out = right - A x."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)[:, None]
    side = tl.program_id(1) * K * N
    value = image(blocks, form, x + side, x, 0.0, n, n < N, H, W, K, KP, REACH, FORMED, "plain")
    where = side + a * N + n[None, :]
    mask = (a < K) & (n < N)[None, :]
    tl.store(out + where, tl.load(right + where, mask=mask, other=0.0) - value, mask=mask)


@kernel
def _restricted(fine, n, inside, fine_H, fine_W, K: tl.constexpr, KP: tl.constexpr):
    """P^T fine at coarse nodes n, (KP, nodes): weights 1/4, 3/4, 3/4, 1/4 along each side, clamped at the border."""
    H, W = (fine_H + 1) // 2, (fine_W + 1) // 2
    a, tap = tl.arange(0, KP)[None, :, None], tl.arange(0, 16)[:, None, None]
    y, x = tap // 4, tap % 4
    row = 2 * (n // W)[None, None, :] - 1 + y
    column = 2 * (n % W)[None, None, :] - 1 + x
    weight = _share(row, y, H, fine_H) * _share(column, x, W, fine_W)
    at = (a * fine_H + row) * fine_W + column
    mask = (weight > 0) & (a < K) & inside[None, None, :]
    return tl.sum(weight * tl.load(fine + at, mask=mask, other=0.0), axis=0)


@kernel
def _share(fine, tap, H, fine_H):
    """Weight of a coarse node in the fine one that is its `tap`-th: 0 where that does not exist."""
    # a fine node whose far neighbour lies beyond the border takes the near one twice
    alone = ((fine == 0) & (tap == 1)) | ((fine == 2 * H - 1) & (tap == 2))
    weight = tl.where(alone, 1.0, tl.where((tap == 1) | (tap == 2), 0.75, 0.25))
    return tl.where((fine >= 0) & (fine < fine_H), weight, 0.0)


@kernel
def restrict(
    fine, inverse, out, x, share, fine_H, fine_W,
    K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr, BEGUN: tl.constexpr,
):  # fmt: skip
    """out = P^T fine. BEGUN: also x = share D^-1 out, the coarse level's first step from zero."""
    N = ((fine_H + 1) // 2) * ((fine_W + 1) // 2)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    side = tl.program_id(1) * K
    value = _restricted(fine + side * fine_H * fine_W, n, n < N, fine_H, fine_W, K, KP)
    a = tl.arange(0, KP)[:, None]
    where = (side + a) * N + n[None, :]
    mask = (a < K) & (n < N)[None, :]
    tl.store(out + where, value, mask=mask)
    if BEGUN:
        tl.store(x + where, share * per_node(inverse, value, n, n < N, N, K, KP), mask=mask)


@kernel
def _image_within(stencil, x):
    """A x, (KP, NP), of a stencil in registers (offsets, KP, KP, NP); x (offsets, 1, KP, NP): places of the neighbours."""
    return tl.sum(tl.sum(stencil * tl.load(x), axis=0), axis=1)


@kernel
def _solved(inverse, right, out, M, MP: tl.constexpr):
    """out = inverse right, M unknowns."""
    row, column = tl.arange(0, MP), tl.arange(0, MP)
    r = tl.load(right + column, mask=column < M, other=0.0)
    entry = inverse + row[:, None] * M + column[None, :]
    A = tl.load(entry, mask=(row[:, None] < M) & (column[None, :] < M), other=0.0)
    tl.store(out + row, tl.sum(A * r[None, :], axis=1), mask=row < M)


@kernel
def dense(inverse, right, out, M, MP: tl.constexpr):
    """out = inverse right for one side, M unknowns."""
    side = tl.program_id(0) * M
    _solved(inverse, right + side, out + side, M, MP)


@kernel
def bottom(
    blocks, inverse, coarsest, right, room, out, first, keep, second,
    H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, KP: tl.constexpr, NP: tl.constexpr,
    MP: tl.constexpr,
):  # fmt: skip
    """A cycle from the last level above the coarsest for one side: out from `right`, both (sides, K, H, W).

    blocks, inverse: of that level, its form in the blocks; coarsest: the dense inverse below it. The stencil stays in
    registers; what neighbours read lies in memory with a margin of zeros, so that their places need neither masks nor
    registers. room: (sides, 2 KP (H + 4) (W + 4) + K H W + 2 MP).
    """
    N: tl.constexpr = H * W
    h: tl.constexpr = (H + 1) // 2
    w: tl.constexpr = (W + 1) // 2
    WIDE: tl.constexpr = W + 4
    PLANE: tl.constexpr = (H + 4) * WIDE
    side = tl.program_id(0)
    right += side * K * N
    out += side * K * N
    room += side * (2 * KP * PLANE + K * N + 2 * MP)
    plain = room + 2 * KP * PLANE
    below, solved = plain + K * N, plain + K * N + MP
    n = tl.arange(0, NP)
    cleared = 0
    while cleared < 2 * KP * PLANE:
        place = cleared + tl.arange(0, 1024)
        tl.store(room + place, tl.zeros((1024,), tl.float32), mask=place < 2 * KP * PLANE)
        cleared += 1024
    o, _, _, near = around(n, n < N, H, W, 2)
    o, near = o[:, :, None, :], near[:, :, None, :]
    a, b = tl.arange(0, KP)[None, :, None, None], tl.arange(0, KP)[None, None, :, None]
    entry = blocks + ((o * K + a) * K + b) * N + n[None, None, None, :]
    stencil = tl.load(entry, mask=near & (a < K) & (b < K), other=0.0)
    inner = (n // W + 2) * WIDE + n % W + 2
    inner = tl.where(n < N, inner, 2 * WIDE + 2)
    # the 7 offsets too many have no factors: any place will do
    step = tl.where(o < 25, (o // 5 - 2) * WIDE + o % 5 - 2, 0)
    here = room + b * PLANE + inner[None, None, None, :] + step
    there = here + KP * PLANE
    a = tl.arange(0, KP)[:, None]
    where, mask = a * N + n[None, :], (a < K) & (n < N)[None, :]
    to = room + a * PLANE + inner[None, :]
    r = tl.load(right + where, mask=mask, other=0.0)
    x = first * per_node(inverse, r, n, n < N, N, K, KP)
    tl.debug_barrier()
    tl.store(to, x, mask=mask)
    tl.debug_barrier()
    rest = r - _image_within(stencil, here)
    x += keep * x + second * per_node(inverse, rest, n, n < N, N, K, KP)
    tl.store(to + KP * PLANE, x, mask=mask)
    tl.debug_barrier()
    tl.store(plain + where, r - _image_within(stencil, there), mask=mask)
    tl.debug_barrier()
    m = tl.arange(0, NP)
    lower = _restricted(plain, m, m < h * w, H, W, K, KP)
    tl.store(below + a * h * w + m[None, :], lower, mask=(a < K) & (m < h * w)[None, :])
    tl.debug_barrier()
    _solved(coarsest, below, solved, K * h * w, MP)
    tl.debug_barrier()
    x += interpolated(solved + a * h * w, (n // W)[None, :], (n % W)[None, :], mask, H, W)
    tl.store(to, x, mask=mask)
    tl.debug_barrier()
    rest = r - _image_within(stencil, here)
    move = first * per_node(inverse, rest, n, n < N, N, K, KP)
    x += move
    tl.store(to + KP * PLANE, x, mask=mask)
    tl.debug_barrier()
    rest = r - _image_within(stencil, there)
    x += keep * move + second * per_node(inverse, rest, n, n < N, N, K, KP)
    tl.store(out + where, x, mask=mask)
