"""Triton kernels of conjugate gradients on a stencil, float64, two launches a step beside the preconditioner's.

Sums are left in parts, one per program, and added up by the next kernel that wants them.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.solve.stencil_kernels import image, own, per_node, total


@kernel
def begin(
    right, inverse, solved, direction, rest, small, start, square, share, N,
    K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr, BEGUN: tl.constexpr,
):  # fmt: skip
    """From zero: rest = right, in float32 `small`, and this program's part of its square. BEGUN: also start =
    share D^-1 right, the cycle's first step."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)[:, None]
    mask = (a < K) & (n < N)[None, :]
    where = (tl.program_id(1) * K + a) * N + n[None, :]
    r = tl.load(right + where, mask=mask, other=0.0)
    zero = tl.zeros_like(r)
    tl.store(solved + where, zero, mask=mask)
    tl.store(direction + where, zero, mask=mask)
    tl.store(rest + where, r, mask=mask)
    tl.store(square + tl.program_id(1) * tl.num_programs(0) + tl.program_id(0), tl.sum(r * r))
    single = r.to(tl.float32)
    tl.store(small + where, single, mask=mask)
    if BEGUN:
        tl.store(start + where, share * per_node(inverse, single, n, n < N, N, K, KP), mask=mask)


@kernel
def dot(a, b, out, M, BLOCK: tl.constexpr):
    """This program's part of the product of a (float64) and b (float32)."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    side, mask = tl.program_id(1), n < M
    x = tl.load(a + side * M + n, mask=mask, other=0.0)
    y = tl.load(b + side * M + n, mask=mask, other=0.0)
    tl.store(out + side * tl.num_programs(0) + tl.program_id(0), tl.sum(x * y))


@kernel
def turn(
    blocks, form, pulled, before, direction, out, energy, last, curved, G, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, BLOCK: tl.constexpr, GP: tl.constexpr,
):  # fmt: skip
    """direction = pulled + energy / last before, out = A direction, and this program's part of their product. Energies
    are in G parts."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, KP)[:, None]
    mask = (a < K) & (n < N)[None, :]
    share = total(energy, tl.program_id(1), G, GP)
    share = share / tl.maximum(total(last, tl.program_id(1), G, GP), 1e-300)
    side = tl.program_id(1) * K * N
    z, d = pulled + side, before + side
    value = image(blocks, form, z, d, share, n, n < N, H, W, K, KP, REACH, True, "turned")
    here = own(z, d, share, n, mask, H, W, KP, "turned")
    where = side + a * N + n[None, :]
    tl.store(direction + where, here, mask=mask)
    tl.store(out + where, value, mask=mask)
    at = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(curved + at, tl.sum(tl.where(mask, here * value, 0.0)))


@kernel
def advance(
    inverse, direction, image, solved, rest, small, start, energy, curved, square, first, after,
    tolerance, share, G, GC, GS, N,
    K: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr, BEGUN: tl.constexpr,
    GP: tl.constexpr, GCP: tl.constexpr, GSP: tl.constexpr,
):  # fmt: skip
    """One step along the direction, unless the side is solved; `square` of the rest before, `first` of the right-hand
    side, `after` this program's part of the new one. Energies are in G parts, `curved` in GC, squares in GS."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a, side = tl.arange(0, KP)[:, None], tl.program_id(1)
    mask = (a < K) & (n < N)[None, :]
    where = (side * K + a) * N + n[None, :]
    moving = total(square, side, GS, GSP) > tolerance * total(first, side, GS, GSP)
    length = total(energy, side, G, GP) / tl.maximum(total(curved, side, GC, GCP), 1e-300)
    length = tl.where(moving, length, 0.0)
    x = tl.load(solved + where, mask=mask, other=0.0)
    x += length * tl.load(direction + where, mask=mask, other=0.0)
    r = tl.load(rest + where, mask=mask, other=0.0)
    r -= length * tl.load(image + where, mask=mask, other=0.0)
    tl.store(solved + where, x, mask=mask)
    tl.store(rest + where, r, mask=mask)
    tl.store(after + side * tl.num_programs(0) + tl.program_id(0), tl.sum(r * r))
    single = r.to(tl.float32)
    tl.store(small + where, single, mask=mask)
    if BEGUN:
        tl.store(start + where, share * per_node(inverse, single, n, n < N, N, K, KP), mask=mask)


@kernel
def remaining(last, first, out, sides, GS, CP: tl.constexpr, GSP: tl.constexpr):
    """The largest relative residual of all sides, NaN if one is, from the squares of the rest and of the right-hand
    sides in GS parts."""
    c, g = tl.arange(0, CP)[:, None], tl.arange(0, GSP)[None, :]
    mask = (c < sides) & (g < GS)
    rest = tl.sum(tl.load(last + c * GS + g, mask=mask, other=0.0), axis=1)
    right = tl.sum(tl.load(first + c * GS + g, mask=mask, other=0.0), axis=1)
    share = rest / tl.maximum(right, 1e-300)
    every = tl.sum(share, axis=0)  # a maximum passes NaN over
    tl.store(out, tl.where(every == every, tl.sqrt(tl.max(share, axis=0)), every))
