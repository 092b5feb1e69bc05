"""Triton: energies of UV maps (`energy/smooth.py`) with the gradient of their weighted sum, in one pass.

A texel's gradient is gathered from the stencils that read it, so nothing is added atomically. Maps are
(B, H, W, C), `used` is (H, W) of 0 and 1, and every program writes its part of each energy. Per energy there are the
robust kernel (-1: not wanted), the scale that residuals are divided by, its share (1 over the sum of the validities),
and its rate: that times the factor in the weighted sum.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.energy.robust_kernels import rho
from hrnfit.geometry.launched import kernel


@kernel
def _used(used, row, column, height, width):
    """1 where a texel exists and is used."""
    there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return tl.load(used + row * width + column, mask=there, other=0.0)


@kernel
def _texel(maps, row, column, height, width, c, C: tl.constexpr):
    """A channel's value; 0 beyond the border, where no stencil counts."""
    there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return tl.load(maps + (row * width + column) * C + c, mask=there, other=0.0)


@kernel
def _size(m, here, scale, KIND: tl.constexpr):
    """Energy and slope of a channel's value itself."""
    value, slope = rho(m / scale, KIND)
    return here * value, here * slope / scale


@kernel
def _variation(
    base, used, row, column, height, width, c, m, here, scale, C: tl.constexpr, KIND: tl.constexpr
):
    """Energy and slope of a channel's forward differences: `total_variation`."""
    ku, kv = width / 64.0 / scale, height / 64.0 / scale
    right = here * _used(used, row, column + 1, height, width)
    left = here * _used(used, row, column - 1, height, width)
    below = here * _used(used, row + 1, column, height, width)
    above = here * _used(used, row - 1, column, height, width)
    u1, du1 = rho((_texel(base, row, column + 1, height, width, c, C) - m) * ku, KIND)
    _, du0 = rho((m - _texel(base, row, column - 1, height, width, c, C)) * ku, KIND)
    v1, dv1 = rho((_texel(base, row + 1, column, height, width, c, C) - m) * kv, KIND)
    _, dv0 = rho((m - _texel(base, row - 1, column, height, width, c, C)) * kv, KIND)
    slope = (left * du0 - right * du1) * ku + (above * dv0 - below * dv1) * kv
    return right * u1 + below * v1, slope


@kernel
def _second(
    base, row, column, dr, dc, height, width, c, scale, used, C: tl.constexpr, KIND: tl.constexpr
):
    """Value and slope of the second difference along (dr, dc) whose first texel is here; 0 where invalid."""
    valid = _used(used, row, column, height, width)
    valid *= _used(used, row + dr, column + dc, height, width)
    valid *= _used(used, row + 2 * dr, column + 2 * dc, height, width)
    r = _texel(base, row, column, height, width, c, C)
    r -= 2.0 * _texel(base, row + dr, column + dc, height, width, c, C)
    r += _texel(base, row + 2 * dr, column + 2 * dc, height, width, c, C)
    value, slope = rho(r * scale, KIND)
    return valid * value, valid * slope


@kernel
def _mixed(base, row, column, height, width, c, scale, used, C: tl.constexpr, KIND: tl.constexpr):
    """Value and slope of the mixed difference whose first texel is here; 0 where invalid."""
    valid = _used(used, row, column, height, width) * _used(used, row, column + 1, height, width)
    valid *= _used(used, row + 1, column, height, width)
    valid *= _used(used, row + 1, column + 1, height, width)
    r = _texel(base, row, column, height, width, c, C)
    r -= _texel(base, row, column + 1, height, width, c, C)
    r -= _texel(base, row + 1, column, height, width, c, C)
    r += _texel(base, row + 1, column + 1, height, width, c, C)
    value, slope = rho(r * scale, KIND)
    return valid * value, valid * slope


@kernel
def _bending(base, used, row, column, height, width, c, scale, C: tl.constexpr, KIND: tl.constexpr):
    """Energy and slope of a channel's second differences uu, sqrt 2 uv, vv."""
    ku, kv = width / 64.0, height / 64.0
    uu, vv, uv = ku * ku / scale, kv * kv / scale, 1.4142135623730951 * ku * kv / scale
    total = 0.0 * _texel(base, row, column, height, width, c, C)
    slope = total
    for k in tl.static_range(3):
        weight = -2.0 if k == 1 else 1.0
        value, du = _second(base, row, column - k, 0, 1, height, width, c, uu, used, C, KIND)
        slope += weight * uu * du
        total += value if k == 0 else 0.0
        value, dv = _second(base, row - k, column, 1, 0, height, width, c, vv, used, C, KIND)
        slope += weight * vv * dv
        total += value if k == 0 else 0.0
    for k in tl.static_range(4):
        weight = 1.0 if (k == 0) or (k == 3) else -1.0
        value, dm = _mixed(base, row - k // 2, column - k % 2, height, width, c, uv, used, C, KIND)
        slope += weight * uv * dm
        total += value if k == 0 else 0.0
    return total, slope


@kernel
def _length(base, used, row, column, height, width, scale, C: tl.constexpr, KIND: tl.constexpr):
    """At a texel: the kernel's value at the rounded length of the gradient, and the factors that turn the
    differences along u and v into derivatives."""
    here = _used(used, row, column, height, width)
    right = here * _used(used, row, column + 1, height, width)
    below = here * _used(used, row + 1, column, height, width)
    ku, kv = width / 64.0 / scale, height / 64.0 / scale
    squared = 0.0 * here
    for c in tl.static_range(C):
        m = _texel(base, row, column, height, width, c, C)
        du = (_texel(base, row, column + 1, height, width, c, C) - m) * ku * right
        dv = (_texel(base, row + 1, column, height, width, c, C) - m) * kv * below
        squared += du * du + dv * dv
    root = tl.sqrt(squared + 1e-4)
    value, slope = rho(squared / (root + 1e-2), KIND)
    slope = here * slope / root
    return here * value, slope * right * ku * ku, slope * below * kv * kv


@kernel
def _isotropic(base, row, column, height, width, c, m, u0, u1, v0, v1, C: tl.constexpr):
    """Slope in a channel of the length of the gradient, given the factors of the differences before and after."""
    slope = u0 * (m - _texel(base, row, column - 1, height, width, c, C))
    slope -= u1 * (_texel(base, row, column + 1, height, width, c, C) - m)
    slope += v0 * (m - _texel(base, row - 1, column, height, width, c, C))
    return slope - v1 * (_texel(base, row + 1, column, height, width, c, C) - m)


@kernel
def map_energies(
    maps, used, grad, size_parts, variation_parts, bending_parts, isotropic_parts, height, width,
    size_scale, size_share, size_rate, variation_scale, variation_share, variation_rate,
    bending_scale, bending_share, bending_rate, isotropic_scale, isotropic_share, isotropic_rate,
    SIZE: tl.constexpr, VARIATION: tl.constexpr, BENDING: tl.constexpr, ISOTROPIC: tl.constexpr,
    C: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of the values themselves; their forward differences; their second differences; and the length of the gradient
    over all channels, `isotropic_variation` at its own rounding."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
    row, column = at // width, at % width
    start = tl.program_id(1).to(tl.int64) * height * width * C
    base = maps + start
    here = _used(used, row, column, height, width)
    none = tl.zeros([BLOCK], maps.dtype.element_ty)
    sizes, variations, bendings, lengths, u0, u1, v0, v1 = (
        none, none, none, none, none, none, none, none,
    )  # fmt: skip
    if ISOTROPIC >= 0:
        lengths, u1, v1 = _length(
            base, used, row, column, height, width, isotropic_scale, C, ISOTROPIC
        )
        _, u0, _ = _length(
            base, used, row, column - 1, height, width, isotropic_scale, C, ISOTROPIC
        )
        _, _, v0 = _length(
            base, used, row - 1, column, height, width, isotropic_scale, C, ISOTROPIC
        )
    for c in tl.static_range(C):
        m = _texel(base, row, column, height, width, c, C)
        total = none
        if SIZE >= 0:
            value, slope = _size(m, here, size_scale, SIZE)
            sizes += value
            total += slope * size_rate
        if VARIATION >= 0:
            value, slope = _variation(
                base, used, row, column, height, width, c, m, here, variation_scale, C, VARIATION
            )
            variations += value
            total += slope * variation_rate
        if BENDING >= 0:
            value, slope = _bending(
                base, used, row, column, height, width, c, bending_scale, C, BENDING
            )
            bendings += value
            total += slope * bending_rate
        if ISOTROPIC >= 0:
            slope = _isotropic(base, row, column, height, width, c, m, u0, u1, v0, v1, C)
            total += slope * isotropic_rate
        tl.store(grad + start + at * C + c, total, mask=inside)
    part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    if SIZE >= 0:
        tl.store(size_parts + part, tl.sum(tl.where(inside, sizes, 0.0), 0) * size_share)
    if VARIATION >= 0:
        variations = tl.sum(tl.where(inside, variations, 0.0), 0)
        tl.store(variation_parts + part, variations * variation_share)
    if BENDING >= 0:
        tl.store(bending_parts + part, tl.sum(tl.where(inside, bendings, 0.0), 0) * bending_share)
    if ISOTROPIC >= 0:
        tl.store(
            isotropic_parts + part, tl.sum(tl.where(inside, lengths, 0.0), 0) * isotropic_share
        )
