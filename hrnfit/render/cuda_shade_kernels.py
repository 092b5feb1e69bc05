"""Triton kernels over normals: unit length and nine-term shading, forward and backward, in one pass over memory.

The laws are those of `cpu_shade_kernels`; the constants of `shade.py` are passed in. A gradient of the light is
summed within a program before it is added, so 27 atomic additions serve a thousand pixels. `lit` is the product of
albedo and irradiance on the covered pixels, which dense torch would take in three passes forward and six backward.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def normalize(vectors, out, rows, TINY: tl.constexpr, BLOCK: tl.constexpr):
    """Unit vectors of (rows, 3); what is not longer than sqrt(TINY) becomes zero."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    x = tl.load(vectors + 3 * row, mask=inside, other=0.0)
    y = tl.load(vectors + 3 * row + 1, mask=inside, other=0.0)
    z = tl.load(vectors + 3 * row + 2, mask=inside, other=0.0)
    square = x * x + y * y + z * z
    tiny = square <= TINY
    scale = tl.where(tiny, 0.0, 1.0 / tl.sqrt(tl.where(tiny, 1.0, square)))
    tl.store(out + 3 * row, x * scale, mask=inside)
    tl.store(out + 3 * row + 1, y * scale, mask=inside)
    tl.store(out + 3 * row + 2, z * scale, mask=inside)


@kernel
def normalize_backward(vectors, grad, out, rows, TINY: tl.constexpr, BLOCK: tl.constexpr):
    """d loss / d vectors: (g - u (u . g)) / length, zero at zero."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    x = tl.load(vectors + 3 * row, mask=inside, other=0.0)
    y = tl.load(vectors + 3 * row + 1, mask=inside, other=0.0)
    z = tl.load(vectors + 3 * row + 2, mask=inside, other=0.0)
    square = x * x + y * y + z * z
    tiny = square <= TINY
    scale = tl.where(tiny, 0.0, 1.0 / tl.sqrt(tl.where(tiny, 1.0, square)))
    x, y, z = x * scale, y * scale, z * scale
    gx = tl.load(grad + 3 * row, mask=inside, other=0.0)
    gy = tl.load(grad + 3 * row + 1, mask=inside, other=0.0)
    gz = tl.load(grad + 3 * row + 2, mask=inside, other=0.0)
    along = x * gx + y * gy + z * gz
    tl.store(out + 3 * row, (gx - along * x) * scale, mask=inside)
    tl.store(out + 3 * row + 1, (gy - along * y) * scale, mask=inside)
    tl.store(out + 3 * row + 2, (gz - along * z) * scale, mask=inside)


@kernel
def _irradiance(of, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE):
    """Irradiance of one channel, whose light starts at `of` with a step of three."""
    value = tl.load(of) + ZONAL * tl.load(of + 18) * (3.0 * z * z - 1.0)
    value += LINEAR * (tl.load(of + 3) * y + tl.load(of + 6) * z + tl.load(of + 9) * x)
    value += PRODUCT * (tl.load(of + 12) * x * y + tl.load(of + 15) * y * z)
    value += PRODUCT * tl.load(of + 21) * x * z
    return value + DIFFERENCE * tl.load(of + 24) * (x * x - y * y)


@kernel
def _slope(of, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE):
    """Derivative of `_irradiance` in the normal."""
    xy, yz = PRODUCT * tl.load(of + 12), PRODUCT * tl.load(of + 15)
    xz, square = PRODUCT * tl.load(of + 21), 2 * DIFFERENCE * tl.load(of + 24)
    dx = LINEAR * tl.load(of + 9) + xy * y + xz * z + square * x
    dy = LINEAR * tl.load(of + 3) + xy * x + yz * z - square * y
    dz = LINEAR * tl.load(of + 6) + yz * y + xz * x + 6 * ZONAL * tl.load(of + 18) * z
    return dx, dy, dz


@kernel
def _basis(x, y, z, row, LINEAR, PRODUCT, ZONAL, DIFFERENCE):
    """The nine basis values below each other, for `row` (16, 1); rows from 9 on are not used."""
    x, y, z = x[None, :], y[None, :], z[None, :]
    first = tl.where(
        row == 0, 1.0 + 0.0 * x, LINEAR * tl.where(row == 1, y, tl.where(row == 2, z, x))
    )
    second = PRODUCT * tl.where(row == 4, x * y, tl.where(row == 5, y * z, x * z))
    second = tl.where(row == 6, ZONAL * (3.0 * z * z - 1.0), second)
    second = tl.where(row == 8, DIFFERENCE * (x * x - y * y), second)
    return tl.where(row < 4, first, second)


@kernel
def _vector(values, at, mask):
    x = tl.load(values + at, mask=mask, other=0.0)
    y = tl.load(values + at + 1, mask=mask, other=0.0)
    return x, y, tl.load(values + at + 2, mask=mask, other=0.0)


@kernel
def shade(
    normals, light, out, pixels,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Irradiance of normals (V, pixels, 3) under light (V, 9, 3); a view per second program index."""
    view = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at = 3 * (view * pixels + pixel)
    x, y, z = _vector(normals, at, pixel < pixels)
    for c in tl.static_range(3):
        value = _irradiance(light + 27 * view + c, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
        tl.store(out + at + c, value, mask=pixel < pixels)


@kernel
def shade_backward(
    normals, light, grad, normals_out, light_out, pixels,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    TO_LIGHT: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write d loss / d normals, and add d loss / d light (V, 9, 3) when wanted."""
    view = tl.program_id(1).to(tl.int64)
    row = tl.arange(0, 16)[:, None]
    sum0 = tl.zeros([16, BLOCK], light.dtype.element_ty)
    sum1, sum2 = 0.0 * sum0, 0.0 * sum0
    for step in range(STEPS):
        pixel = (tl.program_id(0).to(tl.int64) * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        inside = pixel < pixels
        at = 3 * (view * pixels + pixel)
        x, y, z = _vector(normals, at, inside)
        dx, dy, dz = 0.0 * x, 0.0 * x, 0.0 * x
        g0, g1, g2 = _vector(grad, at, inside)
        for c in tl.static_range(3):
            of = light + 27 * view + c
            mx, my, mz = _slope(of, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
            g = g0 if c == 0 else (g1 if c == 1 else g2)
            dx, dy, dz = dx + g * mx, dy + g * my, dz + g * mz
        if TO_LIGHT:
            basis = _basis(x, y, z, row, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
            sum0 += basis * g0[None, :]
            sum1 += basis * g1[None, :]
            sum2 += basis * g2[None, :]
        tl.store(normals_out + at, dx, mask=inside)
        tl.store(normals_out + at + 1, dy, mask=inside)
        tl.store(normals_out + at + 2, dz, mask=inside)
    if TO_LIGHT:
        _add_light(light_out + 27 * view, sum0, sum1, sum2)


@kernel
def _add_light(to, sum0, sum1, sum2):
    """Add sums over pixels (16, BLOCK) to a light (9, 3)."""
    k = tl.arange(0, 16)
    tl.atomic_add(to + 3 * k, tl.sum(sum0, 1), mask=k < 9, sem="relaxed")
    tl.atomic_add(to + 3 * k + 1, tl.sum(sum1, 1), mask=k < 9, sem="relaxed")
    tl.atomic_add(to + 3 * k + 2, tl.sum(sum2, 1), mask=k < 9, sem="relaxed")


@kernel
def lit(
    albedo, normals, light, triangle, out, pixels,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Albedo times irradiance where a triangle is seen, else 0; all (V, pixels, 3)."""
    view = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at = view * pixels + pixel
    seen = tl.load(triangle + at, mask=pixel < pixels, other=-1) >= 0
    x, y, z = _vector(normals, 3 * at, seen)
    for c in tl.static_range(3):
        value = _irradiance(light + 27 * view + c, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
        value = tl.where(seen, value * tl.load(albedo + 3 * at + c, mask=seen, other=0.0), 0.0)
        tl.store(out + 3 * at + c, value, mask=pixel < pixels)


@kernel
def lit_backward(
    albedo, normals, light, triangle, grad, albedo_out, normals_out, light_out, pixels,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    TO_LIGHT: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write d loss / d albedo and d loss / d normals, and add d loss / d light when wanted."""
    view = tl.program_id(1).to(tl.int64)
    row = tl.arange(0, 16)[:, None]
    sum0 = tl.zeros([16, BLOCK], light.dtype.element_ty)
    sum1, sum2 = 0.0 * sum0, 0.0 * sum0
    for step in range(STEPS):
        pixel = (tl.program_id(0).to(tl.int64) * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        inside = pixel < pixels
        at = view * pixels + pixel
        seen = tl.load(triangle + at, mask=inside, other=-1) >= 0
        at = 3 * at
        x, y, z = _vector(normals, at, seen)
        g0, g1, g2 = _vector(grad, at, seen)
        a0, a1, a2 = _vector(albedo, at, seen)
        dx, dy, dz = 0.0 * x, 0.0 * x, 0.0 * x
        for c in tl.static_range(3):
            of = light + 27 * view + c
            g = g0 if c == 0 else (g1 if c == 1 else g2)
            a = a0 if c == 0 else (a1 if c == 1 else a2)
            irradiance = _irradiance(of, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
            tl.store(albedo_out + at + c, g * irradiance, mask=inside)
            mx, my, mz = _slope(of, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
            dx, dy, dz = dx + g * a * mx, dy + g * a * my, dz + g * a * mz
        if TO_LIGHT:
            basis = _basis(x, y, z, row, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
            sum0 += basis * (g0 * a0)[None, :]
            sum1 += basis * (g1 * a1)[None, :]
            sum2 += basis * (g2 * a2)[None, :]
        tl.store(normals_out + at, dx, mask=inside)
        tl.store(normals_out + at + 1, dy, mask=inside)
        tl.store(normals_out + at + 2, dz, mask=inside)
    if TO_LIGHT:
        _add_light(light_out + 27 * view, sum0, sum1, sum2)
