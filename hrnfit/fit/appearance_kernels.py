"""Triton kernels of light and albedo: sums over texels of robust least squares, their solution, and the sums that
an albedo is the ratio of. The laws stand in `light_solve.py` and `albedo_solve.py`.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def _rows(colour, basis, albedo, v, c, p, P, mask, wide):
    """Per texel the nine basis values times its albedo, its colour, and 1, in 16 columns."""
    A = tl.load(albedo + 3 * p + c, mask=mask, other=0.0)
    t = tl.load(colour + 3 * (v * P + p) + c, mask=mask, other=0.0)
    at = basis + 9 * (v * P + p)[:, None] + wide[None, :]
    y = tl.load(at, mask=mask[:, None] & (wide < 9)[None, :], other=0.0)
    rows = y * A[:, None]
    rows = tl.where((wide == 9)[None, :], t[:, None], rows)
    return tl.where((wide == 10)[None, :], 1.0, rows)


@kernel
def _off(rows, light, g, c, wide):
    """Shaded albedo less the colour."""
    L = tl.load(light + (g * 9 + wide) * 3 + c, mask=wide < 9, other=0.0)
    L = tl.where(wide == 9, -1.0, L)
    return tl.sum(rows * L[None, :], axis=1)


@kernel
def _of_light(parts, row, g, c, V, VP: tl.constexpr, NB: tl.constexpr):
    """Sum of what the programs found in the views of a light."""
    i = tl.arange(0, VP)
    j = tl.arange(0, NB)
    member = (i < V) & (tl.load(row + i, mask=i < V, other=-1) == g)
    at = (i[:, None] * 3 + c) * NB + j[None, :]
    found = tl.load(parts + at, mask=member[:, None] & (j >= 0)[None, :], other=0.0)
    return tl.sum(tl.sum(found, axis=1), axis=0)


@kernel
def gather(
    colour, weight, basis, albedo, row, light, missed, mass, out, P, step, count, V,
    FIRST: tl.constexpr, VP: tl.constexpr, NB: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Weighted products of the columns of `_rows` with each other (V, 3, NB, 16, 16), of one view and channel over a
    share of the texels. FIRST: with the weights as they are, whose sums go to `mass`; else with Cauchy's."""
    n, v, c = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    wide = tl.arange(0, 16)
    g = tl.load(row + v)
    spread = 1.0
    if not FIRST:
        whole = tl.maximum(_of_light(mass, row, g, c, V, VP, NB), 1e-9)
        spread = _of_light(missed, row, g, c, V, VP, NB) / whole + 1e-6
    total = tl.zeros((16, 16), tl.float32)
    start = n * BLOCK
    while start < count:
        i = start + tl.arange(0, BLOCK)
        mask = i < count
        p = i * step
        w = tl.load(weight + v * P + p, mask=mask, other=0.0)
        rows = _rows(colour, basis, albedo, v, c, p, P, mask, wide)
        if not FIRST:
            ratio = _off(rows, light, g, c, wide) / (2.0 * spread)
            w = w / (1.0 + ratio * ratio)
        rows = tl.where((w > 0)[:, None], rows, 0.0)
        total += tl.dot(tl.trans(rows * w[:, None]), rows, input_precision="ieee")
        start += NB * BLOCK
    own = (v * 3 + c) * NB + n
    at = wide[:, None] * 16 + wide[None, :]
    tl.store(out + own * 256 + at, total)
    if FIRST:
        middle = (wide[:, None] == 10) & (wide[None, :] == 10)
        tl.store(mass + own, tl.sum(tl.sum(tl.where(middle, total, 0.0), axis=1), axis=0))


@kernel
def solve(parts, row, light, V, ridge, NB: tl.constexpr):
    """Nine numbers of one light and channel, by elimination in float64; the system is positive definite by its
    ridge."""
    g, c = tl.program_id(0), tl.program_id(1)
    n, i = tl.arange(0, NB), tl.arange(0, 16)
    at = n[:, None, None] * 256 + i[None, :, None] * 16 + i[None, None, :]
    total = tl.zeros((16, 16), tl.float64)
    v = 0
    while v < V:
        if tl.load(row + v) == g:
            found = tl.load(parts + (v * 3 + c) * NB * 256 + at)
            total += tl.sum(found.to(tl.float64), axis=0)
        v += 1
    down, across = i[:, None], i[None, :]
    mass = tl.sum(tl.sum(tl.where((down == 10) & (across == 10), total, 0.0), axis=1), axis=0)
    system = total / tl.maximum(mass, 1e-9)
    scale = tl.sum(tl.sum(tl.where((down == 0) & (across == 0), system, 0.0), axis=1), axis=0)
    scale = tl.maximum(scale, 1e-12)
    bands = tl.where(down > 0, ridge, 0.0) * scale + 1e-9
    system += tl.where((down == across) & (down < 9), bands, 0.0)
    for k in tl.static_range(9):
        row_k = tl.sum(tl.where(down == k, system, 0.0), axis=0)
        pivot = tl.sum(tl.where(i == k, row_k, 0.0), axis=0)
        row_k = row_k / pivot
        column = tl.sum(tl.where(across == k, system, 0.0), axis=1)
        system = tl.where(down == k, row_k[None, :], system - column[:, None] * row_k[None, :])
    found = tl.sum(tl.where(across == 9, system, 0.0), axis=1)
    tl.store(light + (g * 9 + i) * 3 + c, found.to(tl.float32), mask=i < 9)


@kernel
def miss(
    colour, weight, basis, albedo, row, light, missed, P, step, count,
    NB: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Weighted sums of absolute residuals (V, 3, NB)."""
    n, v, c = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    wide = tl.arange(0, 16)
    g = tl.load(row + v)
    total = tl.zeros((BLOCK,), tl.float32)
    start = n * BLOCK
    while start < count:
        i = start + tl.arange(0, BLOCK)
        mask = i < count
        p = i * step
        w = tl.load(weight + v * P + p, mask=mask, other=0.0)
        rows = _rows(colour, basis, albedo, v, c, p, P, mask, wide)
        total += tl.where(w > 0, w * tl.abs(_off(rows, light, g, c, wide)), 0.0)
        start += NB * BLOCK
    tl.store(missed + (v * 3 + c) * NB + n, tl.sum(total, axis=0))


@kernel
def ratio(
    colour, weight, basis, row, light, flat, top, bottom, seen, square, P, S2, V, least,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Per texel and channel sums over the views of weighted shading times colour (top) and of its square (bottom), as
    lists (P, 3) and as planes of the UV square (6, S2), and the weights that count (seen)."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = p < P
    t0, t1, t2 = (
        tl.zeros((BLOCK,), tl.float32),
        tl.zeros((BLOCK,), tl.float32),
        tl.zeros((BLOCK,), tl.float32),
    )
    b0, b1, b2 = t0, t0, t0
    total = t0
    v = 0
    while v < V:
        g = tl.load(row + v)
        s0, s1, s2 = (
            tl.zeros((BLOCK,), tl.float32),
            tl.zeros((BLOCK,), tl.float32),
            tl.zeros((BLOCK,), tl.float32),
        )
        for k in tl.static_range(9):
            y = tl.load(basis + 9 * (v * P + p) + k, mask=mask, other=0.0)
            s0 += y * tl.load(light + (g * 9 + k) * 3)
            s1 += y * tl.load(light + (g * 9 + k) * 3 + 1)
            s2 += y * tl.load(light + (g * 9 + k) * 3 + 2)
        w = tl.load(weight + v * P + p, mask=mask, other=0.0)
        w = tl.where((s0 > least) & (s1 > least) & (s2 > least), w, 0.0)
        at = colour + 3 * (v * P + p)
        t0 += w * s0 * tl.load(at, mask=mask, other=0.0)
        t1 += w * s1 * tl.load(at + 1, mask=mask, other=0.0)
        t2 += w * s2 * tl.load(at + 2, mask=mask, other=0.0)
        b0 += w * s0 * s0
        b1 += w * s1 * s1
        b2 += w * s2 * s2
        total += w
        v += 1
    tl.store(top + 3 * p, t0, mask=mask)
    tl.store(top + 3 * p + 1, t1, mask=mask)
    tl.store(top + 3 * p + 2, t2, mask=mask)
    tl.store(bottom + 3 * p, b0, mask=mask)
    tl.store(bottom + 3 * p + 1, b1, mask=mask)
    tl.store(bottom + 3 * p + 2, b2, mask=mask)
    tl.store(seen + p, total, mask=mask)
    place = tl.load(flat + p, mask=mask, other=0)
    tl.store(square + place, t0, mask=mask)
    tl.store(square + S2 + place, t1, mask=mask)
    tl.store(square + 2 * S2 + place, t2, mask=mask)
    tl.store(square + 3 * S2 + place, b0, mask=mask)
    tl.store(square + 4 * S2 + place, b1, mask=mask)
    tl.store(square + 5 * S2 + place, b2, mask=mask)
