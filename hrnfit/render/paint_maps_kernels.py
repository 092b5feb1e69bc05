"""Triton: from a raster and maps to shaded colour in one pass over the pixels, and its derivative in another.

At a pixel that shows a triangle: texture coordinates by its barycentrics, albedo and normal by bilinear look-up
(`cuda_pixel_kernels` has the law), the normal to unit length, colour by `render/shade.py`. The derivative computes all
of it again rather than reading it back. Gradients of maps have four channels, the last unused: one addition of
16 bytes instead of three takes a third of the memory's time. Those of the light are summed over all pixels that a
program takes before they are added: all add to the same few numbers, one after the other.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel
from hrnfit.geometry.mesh_cuda_kernels import load3, quad, store3
from hrnfit.render.cuda_pixel_kernels import cell
from hrnfit.render.paint_cuda_kernels import irradiance, slopes


@kernel
def _place(barycentric, triangle, uv, faces, at, inside):
    """Whether a pixel shows a triangle, its weights, and the texture coordinates of the corners."""
    f = tl.load(triangle + at, mask=inside, other=-1)
    hit = f >= 0
    i = tl.load(faces + 3 * f, mask=hit, other=0)
    j = tl.load(faces + 3 * f + 1, mask=hit, other=0)
    k = tl.load(faces + 3 * f + 2, mask=hit, other=0)
    b0, b1, b2 = load3(barycentric, at, hit)
    u0, v0 = tl.load(uv + 2 * i, mask=hit, other=0.0), tl.load(uv + 2 * i + 1, mask=hit, other=0.0)
    u1, v1 = tl.load(uv + 2 * j, mask=hit, other=0.0), tl.load(uv + 2 * j + 1, mask=hit, other=0.0)
    u2, v2 = tl.load(uv + 2 * k, mask=hit, other=0.0), tl.load(uv + 2 * k + 1, mask=hit, other=0.0)
    u, v = b0 * u0 + b1 * u1 + b2 * u2, b0 * v0 + b1 * v1 + b2 * v2
    return hit, u, v, u0, v0, u1, v1, u2, v2


@kernel
def _cells(u, v, height, width):
    """First of the four texels around a place, steps to the next column and row, fractions, and where these move."""
    x0, x1, s, free_x = cell(u, width)
    y0, y1, t, free_y = cell(v, height)
    return y0 * width + x0, x1 - x0, (y1 - y0) * width, s, t, free_x, free_y


@kernel
def _look(texels, at, right, down, s, t, hit):
    """A channel at a place between four texels, and its derivatives by the fractions."""
    a = tl.load(texels + 3 * at, mask=hit, other=0.0)
    b = tl.load(texels + 3 * (at + right), mask=hit, other=0.0)
    d = tl.load(texels + 3 * (at + down), mask=hit, other=0.0)
    e = tl.load(texels + 3 * (at + right + down), mask=hit, other=0.0)
    value = (1 - t) * (1 - s) * a + (1 - t) * s * b + t * (1 - s) * d + t * s * e
    return value, (1 - t) * (b - a) + t * (e - d), (1 - s) * (d - a) + s * (e - b)


@kernel
def _sampled(texels, u, v, hit, height, width):
    """Three channels at a place with the derivatives of each by the fractions, behind its cell (see `_cells`)."""
    at, right, down, s, t, free_x, free_y = _cells(u, v, height, width)
    x, x_s, x_t = _look(texels, at, right, down, s, t, hit)
    y, y_s, y_t = _look(texels + 1, at, right, down, s, t, hit)
    z, z_s, z_t = _look(texels + 2, at, right, down, s, t, hit)
    return at, right, down, s, t, free_x, free_y, x, y, z, x_s, y_s, z_s, x_t, y_t, z_t


@kernel
def _unit(x, y, z, TINY: tl.constexpr):
    """Unit vector and 1 over the length; zeros for what is not longer than sqrt(TINY)."""
    square = x * x + y * y + z * z
    tiny = square <= TINY
    scale = tl.where(tiny, 0.0, 1.0 / tl.sqrt(tl.where(tiny, 1.0, square)))
    return x * scale, y * scale, z * scale, scale


@kernel
def paint_maps(
    barycentric, triangle, uv, faces, albedo, detail, light, rows, out, normals,
    pixels, height, width, detail_height, detail_width,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    TINY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Colour and coverage (V, pixels, 4) and unit normals (V, pixels, 3) of view `program_id(1)`; zeros outside."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    view = tl.program_id(1).to(tl.int64)
    at = view * pixels + pixel
    hit, u, v, _, _, _, _, _, _ = _place(barycentric, triangle, uv, faces, at, inside)
    own = detail + view * detail_height * detail_width * 3
    _, _, _, _, _, _, _, x, y, z, _, _, _, _, _, _ = _sampled(
        own, u, v, hit, detail_height, detail_width
    )
    x, y, z, _ = _unit(x, y, z, TINY)
    store3(normals, at, x, y, z, inside)
    base = light + 27 * tl.load(rows + view)
    _, _, _, _, _, _, _, r, g, b, _, _, _, _, _, _ = _sampled(albedo, u, v, hit, height, width)
    r *= irradiance(base, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    g *= irradiance(base + 1, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    b *= irradiance(base + 2, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    c = tl.arange(0, 4)[None, :]
    colour = tl.where(hit[:, None], quad(r, g, b, 0.0 * r + 1.0), 0.0)
    tl.store(out + 4 * at[:, None] + c, colour, mask=inside[:, None])


@kernel
def _add_texels(to, at, right, down, s, t, r, g, b, some):
    """Add a gradient of three channels to the four texels around a place, (texels, 4)."""
    c, wanted = tl.arange(0, 4)[None, :], some[:, None]
    to, colour = to + 4 * at[:, None] + c, quad(r, g, b, 0.0 * r)
    s, t = s[:, None], t[:, None]
    right, down = 4 * right[:, None], 4 * down[:, None]
    tl.atomic_add(to, (1 - t) * (1 - s) * colour, mask=wanted, sem="relaxed")
    tl.atomic_add(to + right, (1 - t) * s * colour, mask=wanted, sem="relaxed")
    tl.atomic_add(to + down, t * (1 - s) * colour, mask=wanted, sem="relaxed")
    tl.atomic_add(to + right + down, t * s * colour, mask=wanted, sem="relaxed")


@kernel
def _by_normal(
    base, gr, gg, gb, x, y, z, scale,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
):  # fmt: skip
    """d loss / d normal before it had unit length, given that by the shading; scale: 1 over its length."""
    ax, ay, az = slopes(base, gr, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    bx, by, bz = slopes(base + 1, gg, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    cx, cy, cz = slopes(base + 2, gb, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    nx, ny, nz = ax + bx + cx, ay + by + cy, az + bz + cz
    along = x * nx + y * ny + z * nz
    return (nx - along * x) * scale, (ny - along * y) * scale, (nz - along * z) * scale


@kernel
def _by_place(gx, gy, gz, x_s, y_s, z_s, x_t, y_t, z_t, free_x, free_y, height, width):
    """d loss / d texture coordinates, given that by three channels and theirs by the fractions."""
    du = tl.where(free_x, (gx * x_s + gy * y_s + gz * z_s) * width, 0.0)
    return du, tl.where(free_y, (gx * x_t + gy * y_t + gz * z_t) * height, 0.0)


@kernel
def _colour(grad, at, shown):
    """The first three of four channels."""
    r = tl.load(grad + 4 * at, mask=shown, other=0.0)
    g = tl.load(grad + 4 * at + 1, mask=shown, other=0.0)
    return r, g, tl.load(grad + 4 * at + 2, mask=shown, other=0.0)


@kernel
def _moments(g, x, y, z, m0, m1, m2, m3, m4, m5, m6, m7, m8):
    """Sums over pixels of g times the nine polynomials of the normal, one more of each."""
    return (
        m0 + g, m1 + g * y, m2 + g * z, m3 + g * x, m4 + g * x * y, m5 + g * y * z,
        m6 + g * (3.0 * z * z - 1.0), m7 + g * x * z, m8 + g * (x * x - y * y),
    )  # fmt: skip


@kernel
def _add_light(
    to, m0, m1, m2, m3, m4, m5, m6, m7, m8,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
):  # fmt: skip
    """Add a channel's gradient of the light, whose nine numbers lie three apart."""
    tl.atomic_add(to, tl.sum(m0, 0), sem="relaxed")
    tl.atomic_add(to + 3, LINEAR * tl.sum(m1, 0), sem="relaxed")
    tl.atomic_add(to + 6, LINEAR * tl.sum(m2, 0), sem="relaxed")
    tl.atomic_add(to + 9, LINEAR * tl.sum(m3, 0), sem="relaxed")
    tl.atomic_add(to + 12, PRODUCT * tl.sum(m4, 0), sem="relaxed")
    tl.atomic_add(to + 15, PRODUCT * tl.sum(m5, 0), sem="relaxed")
    tl.atomic_add(to + 18, ZONAL * tl.sum(m6, 0), sem="relaxed")
    tl.atomic_add(to + 21, PRODUCT * tl.sum(m7, 0), sem="relaxed")
    tl.atomic_add(to + 24, DIFFERENCE * tl.sum(m8, 0), sem="relaxed")


@kernel
def _backward_at(
    barycentric, triangle, uv, faces, albedo, detail, base, gr, gg, gb, at, some, inside,
    to_barycentric, to_albedo, to_detail, height, width, detail_height, detail_width,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    TINY: tl.constexpr, PLACE: tl.constexpr, ALBEDO: tl.constexpr, DETAIL: tl.constexpr,
):  # fmt: skip
    """Write and add what pixels of one view give their places and texels; returns d loss / d shading, and the normals."""
    hit, u, v, u0, v0, u1, v1, u2, v2 = _place(barycentric, triangle, uv, faces, at, some)
    at1, right, down, s, t, free_x, free_y, x, y, z, x_s, y_s, z_s, x_t, y_t, z_t = _sampled(
        detail, u, v, hit, detail_height, detail_width
    )
    x, y, z, scale = _unit(x, y, z, TINY)
    at0, over, under, p, q, free_u, free_v, r, g, b, r_s, g_s, b_s, r_t, g_t, b_t = _sampled(
        albedo, u, v, hit, height, width
    )
    ar = gr * irradiance(base, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    ag = gg * irradiance(base + 1, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    ab = gb * irradiance(base + 2, x, y, z, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    if ALBEDO:
        _add_texels(to_albedo, at0, over, under, p, q, ar, ag, ab, hit)
    gr, gg, gb = gr * r, gg * g, gb * b
    nx, ny, nz = _by_normal(base, gr, gg, gb, x, y, z, scale, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    if DETAIL:
        _add_texels(to_detail, at1, right, down, s, t, nx, ny, nz, hit)
    if PLACE:
        du, dv = _by_place(
            nx, ny, nz, x_s, y_s, z_s, x_t, y_t, z_t, free_x, free_y, detail_height, detail_width
        )
        eu, ev = _by_place(ar, ag, ab, r_s, g_s, b_s, r_t, g_t, b_t, free_u, free_v, height, width)
        du, dv = du + eu, dv + ev
        store3(to_barycentric, at, du * u0 + dv * v0, du * u1 + dv * v1, du * u2 + dv * v2, inside)
    return gr, gg, gb, x, y, z


@kernel
def paint_maps_backward(
    barycentric, triangle, uv, faces, albedo, detail, light, rows, grad,
    to_barycentric, to_albedo, to_detail, to_light,
    pixels, height, width, detail_height, detail_width,
    LINEAR: tl.constexpr, PRODUCT: tl.constexpr, ZONAL: tl.constexpr, DIFFERENCE: tl.constexpr,
    TINY: tl.constexpr, PLACE: tl.constexpr, ALBEDO: tl.constexpr, DETAIL: tl.constexpr,
    LIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write d loss / d barycentric; add d loss / d albedo (H, W, 4), / d detail (V, h, w, 4) and / d light (G, 9, 3);
    what is wanted of these."""
    view = tl.program_id(1).to(tl.int64)
    base, to = light + 27 * tl.load(rows + view), to_light + 27 * tl.load(rows + view)
    start = view * detail_height * detail_width
    zero = tl.zeros([BLOCK], grad.dtype.element_ty)
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    g0, g1, g2, g3, g4, g5, g6, g7, g8 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    b0, b1, b2, b3, b4, b5, b6, b7, b8 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    begin = tl.program_id(0) * BLOCK
    while begin < pixels:  # blocks far apart, since the face lies in one piece
        pixel = begin + tl.arange(0, BLOCK)
        inside, at = pixel < pixels, view * pixels + pixel
        shown = tl.load(triangle + at, mask=inside, other=-1) >= 0
        r, g, b = _colour(grad, at, shown)
        some = (r != 0) | (g != 0) | (b != 0)
        if tl.max(some.to(tl.int32), 0) > 0:
            r, g, b, x, y, z = _backward_at(
                barycentric, triangle, uv, faces, albedo, detail + 3 * start, base, r, g, b, at,
                some, inside, to_barycentric, to_albedo, to_detail + 4 * start,
                height, width, detail_height, detail_width,
                LINEAR, PRODUCT, ZONAL, DIFFERENCE, TINY, PLACE, ALBEDO, DETAIL,
            )  # fmt: skip
            if LIGHT:
                r0, r1, r2, r3, r4, r5, r6, r7, r8 = _moments(
                    r, x, y, z, r0, r1, r2, r3, r4, r5, r6, r7, r8
                )
                g0, g1, g2, g3, g4, g5, g6, g7, g8 = _moments(
                    g, x, y, z, g0, g1, g2, g3, g4, g5, g6, g7, g8
                )
                b0, b1, b2, b3, b4, b5, b6, b7, b8 = _moments(
                    b, x, y, z, b0, b1, b2, b3, b4, b5, b6, b7, b8
                )
        elif PLACE:
            store3(to_barycentric, at, zero, zero, zero, inside)
        begin += tl.num_programs(0) * BLOCK
    if LIGHT:
        _add_light(to, r0, r1, r2, r3, r4, r5, r6, r7, r8, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
        _add_light(to + 1, g0, g1, g2, g3, g4, g5, g6, g7, g8, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
        _add_light(to + 2, b0, b1, b2, b3, b4, b5, b6, b7, b8, LINEAR, PRODUCT, ZONAL, DIFFERENCE)
