"""Triton kernels of a multigrid cycle: what one level of many nodes does, and all small levels at once.

The laws stand in `multigrid.py` and `cycle_plain.py`. Small levels are the work of one program per right-hand
side, which waits for its own threads only: each of them alone took as long to launch as to compute.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportAssignmentType=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.solve.stencil_kernels import image, own, per_node


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
def _swept(
    blocks, inverse, right, x, move, out, keep, share, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """One level of `small` for one side, in stretches. With r = right - A x, KIND "begin": out = share D^-1 right;
    "rest": out = r; "third": out = x + share D^-1 r; "second": also + keep x; "last": also + keep (x - move)."""
    N = H * W
    a = tl.arange(0, KP)[:, None]
    for first in range(0, N, BLOCK):
        n = first + tl.arange(0, BLOCK)
        inside = n < N
        where = a * N + n[None, :]
        mask = (a < K) & inside[None, :]
        r = tl.load(right + where, mask=mask, other=0.0)
        if KIND != "begin":
            r -= image(blocks, blocks, x, x, 0.0, n, inside, H, W, K, KP, 2, False, "plain")
        if KIND != "rest":
            r = share * per_node(inverse, r, n, inside, N, K, KP)
        if KIND == "third" or KIND == "second" or KIND == "last":
            here = tl.load(x + where, mask=mask, other=0.0)
            r += here
            if KIND == "second":
                r += keep * here
            if KIND == "last":
                r += keep * (here - tl.load(move + where, mask=mask, other=0.0))
        tl.store(out + where, r, mask=mask)
    tl.debug_barrier()


@kernel
def _lowered(
    fine,
    out,
    fine_H: tl.constexpr,
    fine_W: tl.constexpr,
    K: tl.constexpr,
    KP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """`restrict` for one side of `small`."""
    N = ((fine_H + 1) // 2) * ((fine_W + 1) // 2)
    a = tl.arange(0, KP)[:, None]
    for first in range(0, N, BLOCK):
        n = first + tl.arange(0, BLOCK)
        value = _restricted(fine, n, n < N, fine_H, fine_W, K, KP)
        tl.store(out + a * N + n[None, :], value, mask=(a < K) & (n < N)[None, :])
    tl.debug_barrier()


@kernel
def _raised(
    x,
    coarse,
    out,
    H: tl.constexpr,
    W: tl.constexpr,
    K: tl.constexpr,
    KP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out = x + P coarse for one side of `small`."""
    N = H * W
    a = tl.arange(0, KP)[:, None]
    for first in range(0, N, BLOCK):
        n = first + tl.arange(0, BLOCK)
        mask = (a < K) & (n < N)[None, :]
        value = own(x, coarse, 0.0, n, mask, H, W, KP, "raised")
        tl.store(out + a * N + n[None, :], value, mask=mask)
    tl.debug_barrier()


@kernel
def _solved(inverse, right, out, M, MP: tl.constexpr):
    """out = inverse right, M unknowns."""
    row, column = tl.arange(0, MP), tl.arange(0, MP)
    r = tl.load(right + column, mask=column < M, other=0.0)
    entry = inverse + row[:, None] * M + column[None, :]
    A = tl.load(entry, mask=(row[:, None] < M) & (column[None, :] < M), other=0.0)
    tl.store(out + row, tl.sum(A * r[None, :], axis=1), mask=row < M)
    tl.debug_barrier()


@kernel
def small(
    blocks, inverse, coarsest, right, scratch, out, M, first, keep, second, first_below,
    keep_below, second_below,
    H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, KP: tl.constexpr, LEVELS: tl.constexpr, CELLS: tl.constexpr, BLOCK: tl.constexpr,
    MP: tl.constexpr,
):  # fmt: skip
    """A cycle from its level of H x W nodes down for one side: out from `right`, both (sides, K, H, W).

    blocks, inverse: of LEVELS levels one after the other, of which the l-th has room for CELLS / 4^l nodes; `coarsest`
    the dense inverse below them, (M, M). scratch: (sides, 3, room for all levels and the coarsest). first, keep, second:
    of `Chebyshev`, for the first of the levels and for those below.
    """
    side = tl.program_id(0)
    # room of all levels, less than 4 / 3 of the first one's, and of the coarsest
    ROOM: tl.constexpr = K * ((4 * CELLS) // 3) + MP
    rights = scratch + side * 3 * ROOM
    right += side * K * H * W
    out += side * K * H * W
    for level in tl.static_range(LEVELS):
        S = (4 * CELLS - 4 * (CELLS >> (2 * level))) // 3
        A, D = blocks + 25 * K * K * S, inverse + K * K * S
        r = right if level == 0 else rights + K * S
        x, y = rights + ROOM + K * S, rights + 2 * ROOM + K * S
        a = first if level == 0 else first_below
        b, c = (keep, second) if level == 0 else (keep_below, second_below)
        _swept(
            A, D, r, x, x, x, 0.0, a,
            ((H - 1) >> level) + 1, ((W - 1) >> level) + 1, K, KP, BLOCK, "begin",
        )  # fmt: skip
        _swept(
            A, D, r, x, x, y, b, c,
            ((H - 1) >> level) + 1, ((W - 1) >> level) + 1, K, KP, BLOCK, "second",
        )  # fmt: skip
        _swept(
            A, D, r, y, y, x, 0.0, 0.0,
            ((H - 1) >> level) + 1, ((W - 1) >> level) + 1, K, KP, BLOCK, "rest",
        )  # fmt: skip
        T = (4 * CELLS - (CELLS >> (2 * level))) // 3
        _lowered(x, rights + K * T, ((H - 1) >> level) + 1, ((W - 1) >> level) + 1, K, KP, BLOCK)
    if LEVELS == 0:
        _solved(coarsest, right, out, M, MP)
    else:
        T = (4 * CELLS - 4 * (CELLS >> (2 * LEVELS))) // 3
        _solved(coarsest, rights + K * T, rights + ROOM + K * T, M, MP)
    for level in tl.static_range(LEVELS - 1, -1, -1):
        S = (4 * CELLS - 4 * (CELLS >> (2 * level))) // 3
        T = (4 * CELLS - (CELLS >> (2 * level))) // 3
        A, D = blocks + 25 * K * K * S, inverse + K * K * S
        r = right if level == 0 else rights + K * S
        x, y = rights + ROOM + K * S, rights + 2 * ROOM + K * S
        a = first if level == 0 else first_below
        b, c = (keep, second) if level == 0 else (keep_below, second_below)
        _raised(
            y, rights + ROOM + K * T, x,
            ((H - 1) >> level) + 1, ((W - 1) >> level) + 1, K, KP, BLOCK,
        )  # fmt: skip
        _swept(
            A, D, r, x, x, y, 0.0, a,
            ((H - 1) >> level) + 1, ((W - 1) >> level) + 1, K, KP, BLOCK, "third",
        )  # fmt: skip
        end = out if level == 0 else x
        _swept(
            A, D, r, y, x, end, b, c,
            ((H - 1) >> level) + 1, ((W - 1) >> level) + 1, K, KP, BLOCK, "last",
        )  # fmt: skip
