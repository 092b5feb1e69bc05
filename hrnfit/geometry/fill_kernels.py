"""Triton kernels of the fill of maps (`map_fill.py`): a level from the one of twice the size, its start from the one
of half the size, and its relaxation. Maps are (H, W, K); what is known and used, (H, W) int8.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def halve(
    values, known, used, coarse, coarse_known, coarse_used, H, W, h, w,
    K: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Means of what is known in cells of 2 x 2, and whether anything there is known, or used."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < h * w
    row, column = 2 * (i // w), 2 * (i % w)
    count = tl.zeros((BLOCK,), tl.int32)
    any_used = tl.zeros((BLOCK,), tl.int32)
    for d in tl.static_range(4):
        r, c = row + d // 2, column + d % 2
        there = mask & (r < H) & (c < W)
        count += tl.load(known + r * W + c, mask=there, other=0).to(tl.int32)
        any_used += tl.load(used + r * W + c, mask=there, other=0).to(tl.int32)
    tl.store(coarse_known + i, (count > 0).to(tl.int8), mask=mask)
    tl.store(coarse_used + i, (any_used > 0).to(tl.int8), mask=mask)
    for k in tl.static_range(K):
        total = tl.load(values + i, mask=i < 0, other=0.0)
        for d in tl.static_range(4):
            r, c = row + d // 2, column + d % 2
            there = mask & (r < H) & (c < W)
            there = there & (tl.load(known + r * W + c, mask=there, other=0) > 0)
            total += tl.load(values + (r * W + c) * K + k, mask=there, other=0.0)
        tl.store(coarse + i * K + k, total / tl.maximum(count, 1), mask=mask)


@kernel
def _pixel(size, whole, i):
    """The two pixels of a half-size line that a pixel of the whole one lies between, and the share of the second."""
    at = tl.maximum((i + 0.5) * (size * 1.0 / whole) - 0.5, 0.0)
    low = at.to(tl.int32)
    return low, tl.minimum(low + 1, size - 1), at - low


@kernel
def begin(
    values, known, used, coarse, coarse_used, out, H, W, h, w, K: tl.constexpr, BLOCK: tl.constexpr
):
    """Known values, and elsewhere the coarser fill brought up, by the used texels of each cell alone; 0 off the
    chart."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < H * W
    top, low, fy = _pixel(h, H, i // W)
    left, right, fx = _pixel(w, W, i % W)
    a, b = (1.0 - fy) * (1.0 - fx), (1.0 - fy) * fx
    c, d = fy * (1.0 - fx), fy * fx
    a *= tl.load(coarse_used + top * w + left, mask=mask, other=0)
    b *= tl.load(coarse_used + top * w + right, mask=mask, other=0)
    c *= tl.load(coarse_used + low * w + left, mask=mask, other=0)
    d *= tl.load(coarse_used + low * w + right, mask=mask, other=0)
    part = a + b + c + d
    part = tl.where(part > 0, part, 1.0)
    here = tl.load(used + i, mask=mask, other=0) > 0
    held = here & (tl.load(known + i, mask=mask, other=0) > 0)
    for k in tl.static_range(K):
        up = a * tl.load(coarse + (top * w + left) * K + k, mask=mask, other=0.0)
        up += b * tl.load(coarse + (top * w + right) * K + k, mask=mask, other=0.0)
        up += c * tl.load(coarse + (low * w + left) * K + k, mask=mask, other=0.0)
        up += d * tl.load(coarse + (low * w + right) * K + k, mask=mask, other=0.0)
        own = tl.load(values + i * K + k, mask=mask & held, other=0.0)
        tl.store(out + i * K + k, tl.where(held, own, tl.where(here, up / part, 0.0)), mask=mask)


@kernel
def _flag(used, there, at):
    return (tl.load(used + at, mask=there, other=0) > 0).to(tl.int32)


@kernel
def _swept(maps, known, used, i, mask, H, W, pace, K: tl.constexpr):
    """One step of over-relaxation of some texels, in place; known ones, and those without a neighbour, stay."""
    row, column = i // W, i % W
    free = mask & (tl.load(used + i, mask=mask, other=0) > 0)
    free = free & (tl.load(known + i, mask=free, other=1) == 0)
    above, below = free & (row > 0), free & (row < H - 1)
    left, right = free & (column > 0), free & (column < W - 1)
    above, below = above & (_flag(used, above, i - W) > 0), below & (_flag(used, below, i + W) > 0)
    left, right = left & (_flag(used, left, i - 1) > 0), right & (_flag(used, right, i + 1) > 0)
    count = above.to(tl.int32) + below.to(tl.int32) + left.to(tl.int32) + right.to(tl.int32)
    free = free & (count > 0)
    for k in tl.static_range(K):
        at = maps + i * K + k
        total = tl.load(at - W * K, mask=above, other=0.0) + tl.load(
            at + W * K, mask=below, other=0.0
        )
        total += tl.load(at - K, mask=left, other=0.0) + tl.load(at + K, mask=right, other=0.0)
        own = tl.load(at, mask=free, other=0.0)
        tl.store(at, own + pace * (total / tl.maximum(count, 1) - own), mask=free)


@kernel
def _of_colour(half, W, colour):
    """Flat index of a texel by its place among those of its colour of the checkerboard, in rows of (W + 1) // 2."""
    wide = (W + 1) // 2
    row = half // wide
    column = 2 * (half % wide) + (row + colour) % 2
    return row * W + column, column < W


@kernel
def sweep(maps, known, used, H, W, pace, colour, K: tl.constexpr, BLOCK: tl.constexpr):
    """Half a sweep: the texels of one colour."""
    half = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    i, inside = _of_colour(half, W, colour)
    _swept(maps, known, used, i, inside & (i < H * W), H, W, pace, K)


@kernel
def sweeps(maps, known, used, H, W, pace, count, K: tl.constexpr, BLOCK: tl.constexpr):
    """Every sweep of a small map by one program: what its threads wrote they see behind a barrier."""
    turn = 0
    while turn < count:
        for colour in tl.static_range(2):
            start = 0
            while start < H * ((W + 1) // 2):
                half = start + tl.arange(0, BLOCK)
                i, inside = _of_colour(half, W, colour)
                _swept(maps, known, used, i, inside & (i < H * W), H, W, pace, K)
                start += BLOCK
            tl.debug_barrier()
        turn += 1
