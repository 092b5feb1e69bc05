"""Triton kernels of map stencils: their values at a stretch of nodes, and their product.

Maps are (c, k, H, W), stencils as in `stencil.py`. A program takes a stretch of nodes with all channels of one
right-hand side and all neighbours at once: what counts is how many loads are under way, since a level has few nodes.
In a loop over the rows of neighbours a product took 5.5 us on an H100, whatever the level.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def interpolated(coarse, i, j, there, H, W):
    """A channel of the coarse level at nodes (i, j) of the finer one of H x W."""
    h, w = (H + 1) // 2, (W + 1) // 2
    near_i, near_j = i // 2, j // 2
    far_i = tl.minimum(tl.maximum(near_i + 2 * (i % 2) - 1, 0), h - 1)
    far_j = tl.minimum(tl.maximum(near_j + 2 * (j % 2) - 1, 0), w - 1)
    value = 0.5625 * tl.load(coarse + near_i * w + near_j, mask=there, other=0.0)
    value += 0.1875 * tl.load(coarse + near_i * w + far_j, mask=there, other=0.0)
    value += 0.1875 * tl.load(coarse + far_i * w + near_j, mask=there, other=0.0)
    return value + 0.0625 * tl.load(coarse + far_i * w + far_j, mask=there, other=0.0)


@kernel
def _value(x, more, share, at, i, j, there, H, W, LIKE: tl.constexpr):
    """A channel at nodes (i, j), flat `at`. LIKE "plain": of x; "raised": x plus the interpolated coarse
    `more`; "turned": x plus share times `more`."""
    value = tl.load(x + at, mask=there, other=0.0)
    if LIKE == "raised":
        value += interpolated(more, i, j, there, H, W)
    if LIKE == "turned":
        value = value + share * tl.load(more + at, mask=there, other=0.0)
    return value


@kernel
def around(n, inside, H, W, REACH: tl.constexpr):
    """Neighbours of nodes n by all offsets in -REACH..REACH, (offsets, 1, nodes): the offset, row and column, and
    whether there is such a node."""
    SIDE: tl.constexpr = 2 * REACH + 1
    o = tl.arange(0, 16 if REACH == 1 else 32)[:, None, None]
    i = (n // W)[None, None, :] + o // SIDE - REACH
    j = (n % W)[None, None, :] + o % SIDE - REACH
    there = (o < SIDE * SIDE) & (i >= 0) & (i < H) & (j >= 0) & (j < W)
    return o, i, j, there & inside[None, None, :]


@kernel
def image(
    blocks, form, x, more, share, n, inside, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, FORMED: tl.constexpr, LIKE: tl.constexpr,
):  # fmt: skip
    """A x at nodes n, (KP, nodes); `x` (and `more`) point at one right-hand side, see `_value`. FORMED: the form is
    kept beside the blocks, else it is part of them."""
    N = H * W
    M = ((H + 1) // 2) * ((W + 1) // 2) if LIKE == "raised" else N
    a = tl.arange(0, KP)[None, :, None]
    o, i, j, there = around(n, inside, H, W, REACH)
    at = i * W + j
    entry = blocks + (o * K + a) * K * N + n[None, None, :]
    mask = there & (a < K)
    total = tl.load(entry, mask=mask, other=0.0) * _value(
        x, more, share, at, i, j, there, H, W, LIKE
    )
    for b in tl.static_range(1, K):
        value = _value(x + b * N, more + b * M, share, at, i, j, there, H, W, LIKE)
        total += tl.load(entry + b * N, mask=mask, other=0.0) * value
    out = tl.sum(total, axis=0)
    if FORMED:
        o, i, j, there = around(n, inside, H, W, 2)
        value = _value(x + a * N, more + a * M, share, i * W + j, i, j, there & (a < K), H, W, LIKE)
        factor = tl.load(form + o * N + n[None, None, :], mask=there, other=0.0)
        out += tl.sum(factor * value, axis=0)
    return out


@kernel
def own(x, more, share, n, mask, H, W, KP: tl.constexpr, LIKE: tl.constexpr):
    """Values at nodes n themselves, (KP, nodes); see `_value`."""
    M = ((H + 1) // 2) * ((W + 1) // 2) if LIKE == "raised" else H * W
    a = tl.arange(0, KP)[:, None]
    i, j = (n // W)[None, :], (n % W)[None, :]
    return _value(x + a * H * W, more + a * M, share, n[None, :], i, j, mask, H, W, LIKE)


@kernel
def per_node(inverse, r, n, inside, N, K: tl.constexpr, KP: tl.constexpr):
    """Node blocks (K, K, N) times r (KP, nodes)."""
    a, b = tl.arange(0, KP)[:, None, None], tl.arange(0, KP)[None, :, None]
    mask = (a < K) & (b < K) & inside[None, None, :]
    entry = tl.load(inverse + (a * K + b) * N + n[None, None, :], mask=mask, other=0.0)
    return tl.sum(entry * r[None, :, :], axis=1)


@kernel
def total(parts, side, G, GP: tl.constexpr):
    """Sum of what G programs have left for a side."""
    at = tl.arange(0, GP)
    return tl.sum(tl.load(parts + side * G + at, mask=at < G, other=0.0))


@kernel
def product(
    blocks, form, x, out, H, W,
    K: tl.constexpr, KP: tl.constexpr, REACH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = A x."""
    N = H * W
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    side = tl.program_id(1) * K * N
    value = image(blocks, form, x + side, x, 0.0, n, n < N, H, W, K, KP, REACH, True, "plain")
    a = tl.arange(0, KP)[:, None]
    tl.store(out + side + a * N + n[None, :], value, mask=(a < K) & (n < N)[None, :])
