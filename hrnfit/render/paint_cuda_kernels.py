"""Triton: albedo times shading where a triangle is seen, with the coverage as a fourth channel; and its derivative.

One pass over memory. The shading is that of `render/shade.py`; a view names its row of the light. The gradient of
the light is summed within a program before it is added.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.geometry.mesh_cuda_kernels import load3, store3


@kernel
def irradiance(
    of, x, y, z,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
):  # fmt: skip
    """Of unit normals, in the channel whose nine numbers begin at `of`."""
    value = tl.load(of) + ZONAL * tl.load(of + 18) * (3.0 * z * z - 1.0)
    value += LINEAR * (tl.load(of + 3) * y + tl.load(of + 6) * z + tl.load(of + 9) * x)
    value += PRODUCT * (tl.load(of + 12) * x * y + tl.load(of + 15) * y * z)
    value += PRODUCT * tl.load(of + 21) * x * z
    return value + DIFFERENCE * tl.load(of + 24) * (x * x - y * y)


@kernel
def slopes(
    of, g, x, y, z,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
):  # fmt: skip
    """g times the derivative of a channel's irradiance by the normal."""
    xy, yz = PRODUCT * tl.load(of + 12), PRODUCT * tl.load(of + 15)
    xz, square = PRODUCT * tl.load(of + 21), 2 * DIFFERENCE * tl.load(of + 24)
    dx = g * (LINEAR * tl.load(of + 9) + xy * y + xz * z + square * x)
    dy = g * (LINEAR * tl.load(of + 3) + xy * x + yz * z - square * y)
    dz = g * (LINEAR * tl.load(of + 6) + yz * y + xz * x + 6 * ZONAL * tl.load(of + 18) * z)
    return dx, dy, dz


@kernel
def paint(
    albedo, normals, light, rows, triangle, out, pixels,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Colour and coverage of view `program_id(1)`, (V, pixels, 4)."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    view = tl.program_id(1).to(tl.int64)
    at = view * pixels + pixel
    hit = tl.load(triangle + at, mask=inside, other=-1) >= 0
    x, y, z = load3(normals, at, hit)
    base = light + 27 * tl.load(rows + view)
    for c in tl.static_range(3):
        a = tl.load(albedo + 3 * at + c, mask=hit, other=0.0)
        value = a * irradiance(base + c, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
        tl.store(out + 4 * at + c, tl.where(hit, value, 0.0), mask=inside)
    tl.store(out + 4 * at + 3, tl.where(hit, 1.0, 0.0), mask=inside)


@kernel
def paint_backward(
    albedo, normals, light, rows, triangle, grad, to_albedo, to_normals, to_light, pixels,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    ALBEDO: tl.constexpr, NORMALS: tl.constexpr, LIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write d loss / d albedo and / d normals, add d loss / d light (G, 9, 3), as wanted."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    view = tl.program_id(1).to(tl.int64)
    at = view * pixels + pixel
    hit = tl.load(triangle + at, mask=inside, other=-1) >= 0
    x, y, z = load3(normals, at, hit)
    row = tl.load(rows + view)
    dx, dy, dz = 0.0 * x, 0.0 * x, 0.0 * x
    some = tl.max(hit.to(tl.int32), 0) > 0
    for c in tl.static_range(3):
        g = tl.load(grad + 4 * at + c, mask=hit, other=0.0)
        of = light + 27 * row + c
        if ALBEDO:
            shaded = irradiance(of, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
            tl.store(to_albedo + 3 * at + c, g * shaded, mask=inside)
        g *= tl.load(albedo + 3 * at + c, mask=hit, other=0.0)
        if NORMALS:
            sx, sy, sz = slopes(of, g, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
            dx, dy, dz = dx + sx, dy + sy, dz + sz
        if LIGHT:
            to = to_light + 27 * row + c
            if some:
                tl.atomic_add(to, tl.sum(g, 0), sem="relaxed")
                tl.atomic_add(to + 3, LINEAR * tl.sum(g * y, 0), sem="relaxed")
                tl.atomic_add(to + 6, LINEAR * tl.sum(g * z, 0), sem="relaxed")
                tl.atomic_add(to + 9, LINEAR * tl.sum(g * x, 0), sem="relaxed")
                tl.atomic_add(to + 12, PRODUCT * tl.sum(g * x * y, 0), sem="relaxed")
                tl.atomic_add(to + 15, PRODUCT * tl.sum(g * y * z, 0), sem="relaxed")
                zonal = tl.sum(g * (3.0 * z * z - 1.0), 0)
                tl.atomic_add(to + 18, ZONAL * zonal, sem="relaxed")
                tl.atomic_add(to + 21, PRODUCT * tl.sum(g * x * z, 0), sem="relaxed")
                tl.atomic_add(to + 24, DIFFERENCE * tl.sum(g * (x * x - y * y), 0), sem="relaxed")
    if NORMALS:
        store3(to_normals, at, dx, dy, dz, inside)


@kernel
def join(
    image, coverage, out, pixels, IMAGE: tl.constexpr, COVERAGE: tl.constexpr, BLOCK: tl.constexpr
):
    """(pixels, 3) and (pixels) as (pixels, 4); zeros for what is not there."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < pixels
    for c in tl.static_range(3):
        value = tl.zeros([BLOCK], out.dtype.element_ty)
        if IMAGE:
            value = tl.load(image + 3 * at + c, mask=inside, other=0.0)
        tl.store(out + 4 * at + c, value, mask=inside)
    value = tl.zeros([BLOCK], out.dtype.element_ty)
    if COVERAGE:
        value = tl.load(coverage + at, mask=inside, other=0.0)
    tl.store(out + 4 * at + 3, value, mask=inside)
