"""Triton: energies of UV maps (`energy/smooth.py`) with their gradients, in one pass over the texels.

A texel's gradient is gathered from the stencils that read it, so nothing is added atomically. Maps are
(B, H, W, C), `used` is (H, W) of 0 and 1, and every program writes its part of the energy. `scale` holds what
residuals are divided by, `share` 1 over the sum of the validities.
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
def size(
    maps, used, grad, parts, height, width, scale, share,
    C: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of the values themselves."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
    start = tl.program_id(1).to(tl.int64) * height * width * C
    u = tl.load(used + at, mask=inside, other=0.0)
    total = tl.zeros([BLOCK], maps.dtype.element_ty)
    for c in tl.static_range(C):
        place = start + at * C + c
        value, slope = rho(tl.load(maps + place, mask=inside, other=0.0) / scale, KIND)
        total += u * value
        tl.store(grad + place, u * slope * (share / scale), mask=inside)
    part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + part, tl.sum(total, 0) * share)


@kernel
def variation(
    maps, used, grad, parts, height, width, scale, share,
    C: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of the forward differences of every channel: `total_variation`."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
    row, column = at // width, at % width
    start = tl.program_id(1).to(tl.int64) * height * width * C
    base = maps + start
    ku, kv = width / 64.0 / scale, height / 64.0 / scale
    here = _used(used, row, column, height, width)
    right = here * _used(used, row, column + 1, height, width)
    left = here * _used(used, row, column - 1, height, width)
    below = here * _used(used, row + 1, column, height, width)
    above = here * _used(used, row - 1, column, height, width)
    total = tl.zeros([BLOCK], maps.dtype.element_ty)
    for c in tl.static_range(C):
        m = _texel(base, row, column, height, width, c, C)
        u1, du1 = rho((_texel(base, row, column + 1, height, width, c, C) - m) * ku, KIND)
        _, du0 = rho((m - _texel(base, row, column - 1, height, width, c, C)) * ku, KIND)
        v1, dv1 = rho((_texel(base, row + 1, column, height, width, c, C) - m) * kv, KIND)
        _, dv0 = rho((m - _texel(base, row - 1, column, height, width, c, C)) * kv, KIND)
        total += right * u1 + below * v1
        slope = (left * du0 - right * du1) * ku + (above * dv0 - below * dv1) * kv
        tl.store(grad + start + at * C + c, slope * share, mask=inside)
    part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + part, tl.sum(tl.where(inside, total, 0.0), 0) * share)


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
def bending(
    maps, used, grad, parts, height, width, scale, share,
    C: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of the second differences uu, sqrt 2 uv, vv."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
    row, column = at // width, at % width
    start = tl.program_id(1).to(tl.int64) * height * width * C
    base = maps + start
    ku, kv = width / 64.0, height / 64.0
    uu, vv, uv = ku * ku / scale, kv * kv / scale, 1.4142135623730951 * ku * kv / scale
    total = tl.zeros([BLOCK], maps.dtype.element_ty)
    for c in tl.static_range(C):
        slope = tl.zeros([BLOCK], maps.dtype.element_ty)
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
            value, dm = _mixed(
                base, row - k // 2, column - k % 2, height, width, c, uv, used, C, KIND
            )
            slope += weight * uv * dm
            total += value if k == 0 else 0.0
        tl.store(grad + start + at * C + c, slope * share, mask=inside)
    part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + part, tl.sum(tl.where(inside, total, 0.0), 0) * share)


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
def isotropic(
    maps, used, grad, parts, height, width, scale, share,
    C: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of the length of the gradient over all channels: `isotropic_variation` at its own rounding."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < height * width
    row, column = at // width, at % width
    start = tl.program_id(1).to(tl.int64) * height * width * C
    base = maps + start
    total, u1, v1 = _length(base, used, row, column, height, width, scale, C, KIND)
    _, u0, _ = _length(base, used, row, column - 1, height, width, scale, C, KIND)
    _, _, v0 = _length(base, used, row - 1, column, height, width, scale, C, KIND)
    for c in tl.static_range(C):
        m = _texel(base, row, column, height, width, c, C)
        slope = u0 * (m - _texel(base, row, column - 1, height, width, c, C))
        slope -= u1 * (_texel(base, row, column + 1, height, width, c, C) - m)
        slope += v0 * (m - _texel(base, row - 1, column, height, width, c, C))
        slope -= v1 * (_texel(base, row + 1, column, height, width, c, C) - m)
        tl.store(grad + start + at * C + c, slope * share, mask=inside)
    part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + part, tl.sum(tl.where(inside, total, 0.0), 0) * share)
