"""Triton kernels over normals: unit length and nine-term shading, forward and backward, in one pass over memory.

The laws are those of `cpu_shade_kernels`; the constants of `shade.py` are passed in. A gradient of the light is
summed within a program before it is added, so 27 atomic additions serve a whole block of pixels.
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
def shade(
    normals, light, out, pixels,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Irradiance of normals (V, pixels, 3) under light (V, 9, 3); a view per second program index."""
    view = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    at = 3 * (view * pixels + pixel)
    x = tl.load(normals + at, mask=inside, other=0.0)
    y = tl.load(normals + at + 1, mask=inside, other=0.0)
    z = tl.load(normals + at + 2, mask=inside, other=0.0)
    for c in tl.static_range(3):
        of = light + 27 * view + c
        value = tl.load(of) + ZONAL * tl.load(of + 18) * (3.0 * z * z - 1.0)
        value += LINEAR * (tl.load(of + 3) * y + tl.load(of + 6) * z + tl.load(of + 9) * x)
        value += PRODUCT * tl.load(of + 12) * x * y + PRODUCT * tl.load(of + 15) * y * z
        value += PRODUCT * tl.load(of + 21) * x * z
        value += DIFFERENCE * tl.load(of + 24) * (x * x - y * y)
        tl.store(out + at + c, value, mask=inside)


@kernel
def shade_backward(
    normals, light, grad, normals_out, light_out, pixels,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    TO_LIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write d loss / d normals, and add d loss / d light (V, 9, 3) when wanted."""
    view = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    at = 3 * (view * pixels + pixel)
    x = tl.load(normals + at, mask=inside, other=0.0)
    y = tl.load(normals + at + 1, mask=inside, other=0.0)
    z = tl.load(normals + at + 2, mask=inside, other=0.0)
    dx, dy, dz = 0.0 * x, 0.0 * x, 0.0 * x
    for c in tl.static_range(3):
        g = tl.load(grad + at + c, mask=inside, other=0.0)
        of = light + 27 * view + c
        xy, yz = PRODUCT * tl.load(of + 12), PRODUCT * tl.load(of + 15)
        xz, square = PRODUCT * tl.load(of + 21), 2 * DIFFERENCE * tl.load(of + 24)
        dx += g * (LINEAR * tl.load(of + 9) + xy * y + xz * z + square * x)
        dy += g * (LINEAR * tl.load(of + 3) + xy * x + yz * z - square * y)
        dz += g * (LINEAR * tl.load(of + 6) + yz * y + xz * x + 6 * ZONAL * tl.load(of + 18) * z)
        if TO_LIGHT:
            to = light_out + 27 * view + c
            if tl.max((g != 0).to(tl.int32), 0) > 0:
                tl.atomic_add(to, tl.sum(g, 0), sem="relaxed")
                tl.atomic_add(to + 3, LINEAR * tl.sum(g * y, 0), sem="relaxed")
                tl.atomic_add(to + 6, LINEAR * tl.sum(g * z, 0), sem="relaxed")
                tl.atomic_add(to + 9, LINEAR * tl.sum(g * x, 0), sem="relaxed")
                tl.atomic_add(to + 12, PRODUCT * tl.sum(g * x * y, 0), sem="relaxed")
                tl.atomic_add(to + 15, PRODUCT * tl.sum(g * y * z, 0), sem="relaxed")
                zonal = tl.sum(g * (3.0 * z * z - 1.0), 0)
                tl.atomic_add(to + 18, ZONAL * zonal, sem="relaxed")
                tl.atomic_add(to + 21, PRODUCT * tl.sum(g * x * z, 0), sem="relaxed")
                difference = tl.sum(g * (x * x - y * y), 0)
                tl.atomic_add(to + 24, DIFFERENCE * difference, sem="relaxed")
    tl.store(normals_out + at, dx, mask=inside)
    tl.store(normals_out + at + 1, dy, mask=inside)
    tl.store(normals_out + at + 2, dz, mask=inside)


@kernel
def basis(
    normals, out, rows,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The nine harmonics of normals (rows, 3)."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < rows
    x = tl.load(normals + 3 * row, mask=inside, other=0.0)
    y = tl.load(normals + 3 * row + 1, mask=inside, other=0.0)
    z = tl.load(normals + 3 * row + 2, mask=inside, other=0.0)
    to = out + 9 * row
    tl.store(to, tl.zeros_like(x) + 1.0, mask=inside)
    tl.store(to + 1, LINEAR * y, mask=inside)
    tl.store(to + 2, LINEAR * z, mask=inside)
    tl.store(to + 3, LINEAR * x, mask=inside)
    tl.store(to + 4, PRODUCT * x * y, mask=inside)
    tl.store(to + 5, PRODUCT * y * z, mask=inside)
    tl.store(to + 6, ZONAL * (3.0 * z * z - 1.0), mask=inside)
    tl.store(to + 7, PRODUCT * x * z, mask=inside)
    tl.store(to + 8, DIFFERENCE * (x * x - y * y), mask=inside)
