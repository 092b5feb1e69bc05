"""Triton kernel of sums over the texels around the nodes of a map: `assembled` and `gathered` of `stencil.py`."""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def _ramp(q, t, m, D, side: tl.constexpr):
    """Weight of the node before (0) or after (1) a cell q in its texel t, as `cell_ramps`: before the first of D nodes and
    after the last one, that one counts alone."""
    after = tl.where(q == 0, 1.0, tl.where(q == D, 0.0, (t + 0.5) / m))
    return after if side == 1 else 1.0 - after


@kernel
def node_sums(
    values, places, paired, single, P, S, D, m, pairs, MP: tl.constexpr, BLOCK: tl.constexpr
):
    """Of one of the values (e, P), the program's second index: with the weights of two nodes, one of `pairs`, to paired
    (9, pairs, D, D); or with the weight of each node to single (e - pairs, D, D)."""
    n, e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1)
    i, j = (n // D)[:, None], (n % D)[:, None]
    t = tl.arange(0, MP * MP)[None, :]
    y, x = t // MP, t % MP
    inside = (n < D * D)[:, None] & (y < m) & (x < m)
    zero = tl.zeros((BLOCK, MP * MP), tl.float32)
    # of the node itself; of its neighbours above and below, left and right; of those across, rows first
    own, up, down, left, right = zero, zero, zero, zero, zero
    a, b, c, d = zero, zero, zero, zero
    for below in tl.static_range(2):
        for beside in tl.static_range(2):
            # own node is after the first cell of each axis and before the second
            row, column = (i + below) * m + y - m // 2, (j + beside) * m + x - m // 2
            there = inside & (row >= 0) & (row < S) & (column >= 0) & (column < S)
            p = tl.load(places + row * S + column, mask=there, other=-1)
            value = tl.load(values + e * P + p, mask=p >= 0, other=0.0)
            own_y = _ramp(i + below, y, m, D, 1 - below)
            own_x = _ramp(j + beside, x, m, D, 1 - beside)
            value = value * own_y * own_x
            if e >= pairs:
                own += value
            else:
                far_y, far_x = 1.0 - own_y, 1.0 - own_x
                own += value * own_y * own_x
                across = value * far_y * far_x
                if below == 0:
                    up += value * far_y * own_x
                    if beside == 0:
                        a += across
                    else:
                        b += across
                else:
                    down += value * far_y * own_x
                    if beside == 0:
                        c += across
                    else:
                        d += across
                if beside == 0:
                    left += value * own_y * far_x
                else:
                    right += value * own_y * far_x
    mask = n < D * D
    if e >= pairs:
        tl.store(single + (e - pairs) * D * D + n, tl.sum(own, axis=1), mask=mask)
    else:
        step = pairs * D * D
        out = paired + e * D * D + n
        tl.store(out, tl.sum(a, axis=1), mask=mask)
        tl.store(out + step, tl.sum(up, axis=1), mask=mask)
        tl.store(out + 2 * step, tl.sum(b, axis=1), mask=mask)
        tl.store(out + 3 * step, tl.sum(left, axis=1), mask=mask)
        tl.store(out + 4 * step, tl.sum(own, axis=1), mask=mask)
        tl.store(out + 5 * step, tl.sum(right, axis=1), mask=mask)
        tl.store(out + 6 * step, tl.sum(c, axis=1), mask=mask)
        tl.store(out + 7 * step, tl.sum(down, axis=1), mask=mask)
        tl.store(out + 8 * step, tl.sum(d, axis=1), mask=mask)
