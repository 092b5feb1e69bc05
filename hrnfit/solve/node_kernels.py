"""Triton kernel of sums over the texels around the nodes of a map: `assembled` and `gathered` of `stencil.py`."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def _ramp(ramps, q, t, m, side: tl.constexpr, mask):
    """Weight of the node before (0) or after (1) a cell q in its texel t."""
    return tl.load(ramps + (q * m + t) * 2 + side, mask=mask, other=0.0)


@kernel
def node_sums(
    values, places, ramps, paired, single, P, S, D, m, pairs,
    MP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of one of the values (e, P), the program's second index: with the weights of two nodes, one of `pairs`, to paired
    (9, pairs, D, D); or with the weight of each node to single (e - pairs, D, D). Float32 within a cell of four
    nodes, float64 between cells."""
    n, e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1)
    i, j = (n // D)[None, :], (n % D)[None, :]
    t = tl.arange(0, MP * MP)[:, None]
    y, x = t // MP, t % MP
    inside = (n < D * D)[None, :] & (y < m) & (x < m)
    o = tl.arange(0, 16)[:, None]
    total = tl.zeros((16, BLOCK), tl.float64)
    # own node is after the first cell of each axis and before the second
    for below in tl.static_range(2):
        for right in tl.static_range(2):
            row, column = (i + below) * m + y - m // 2, (j + right) * m + x - m // 2
            there = inside & (row >= 0) & (row < S) & (column >= 0) & (column < S)
            p = tl.load(places + row * S + column, mask=there, other=-1)
            value = tl.load(values + e * P + p, mask=p >= 0, other=0.0)
            own_y = _ramp(ramps, i + below, y, m, 1 - below, there)
            own_x = _ramp(ramps, j + right, x, m, 1 - right, there)
            value = value * own_y * own_x
            if e >= pairs:
                total += tl.where(o == 4, tl.sum(value, axis=0)[None, :], 0.0)
            else:
                far_y = _ramp(ramps, i + below, y, m, below, there)
                far_x = _ramp(ramps, j + right, x, m, right, there)
                part = tl.sum(value * own_y * own_x, axis=0)[None, :]
                total += tl.where(o == 4, part, 0.0)
                part = tl.sum(value * far_y * own_x, axis=0)[None, :]
                total += tl.where(o == 1 + 6 * below, part, 0.0)
                part = tl.sum(value * own_y * far_x, axis=0)[None, :]
                total += tl.where(o == 3 + 2 * right, part, 0.0)
                part = tl.sum(value * far_y * far_x, axis=0)[None, :]
                total += tl.where(o == 6 * below + 2 * right, part, 0.0)
    where = n[None, :]
    if e >= pairs:
        mask = (o == 4) & (n < D * D)[None, :]
        tl.store(single + (e - pairs) * D * D + where + 0 * o, total, mask=mask)
    else:
        mask = (o < 9) & (n < D * D)[None, :]
        tl.store(paired + (o * pairs + e) * D * D + where, total, mask=mask)
