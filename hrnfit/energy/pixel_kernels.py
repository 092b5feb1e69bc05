"""Triton: the energies of an image per pixel and the landmark energy per point, with their gradients.

The laws are those of `energy/photometric.py`, `energy/silhouette.py` and `energy/landmark.py`. Sums are not yet
divided by the validity, of which every program writes its part.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.energy.robust_kernels import rho
from hrnfit.geometry.launched import kernel
from hrnfit.geometry.mesh_cuda_kernels import load3, quad, store3, unquad


@kernel
def _encoded(linear, GAMMA: tl.constexpr, FLOOR: tl.constexpr, STEEP: tl.constexpr):
    """Gamma-encoded light and its slope. STEEP: the slope of the straight part below FLOOR."""
    bright = tl.maximum(linear, FLOOR)
    curved = tl.exp(GAMMA * tl.log(bright))
    slope = tl.where(linear > FLOOR, GAMMA * curved / bright, STEEP)
    return curved + (linear - bright) * STEEP, slope


@kernel
def _photometric(
    r, g, b, target, at, counted, validity, wrong,
    GAMMA: tl.constexpr, FLOOR: tl.constexpr, STEEP: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """Length of the difference in gamma space over `wrong`: energy and gradient, times the validity."""
    tr, tg, tb = load3(target, at, counted)
    er, sr = _encoded(r, GAMMA, FLOOR, STEEP)
    eg, sg = _encoded(g, GAMMA, FLOOR, STEEP)
    eb, sb = _encoded(b, GAMMA, FLOOR, STEEP)
    fr, _ = _encoded(tr, GAMMA, FLOOR, STEEP)
    fg, _ = _encoded(tg, GAMMA, FLOOR, STEEP)
    fb, _ = _encoded(tb, GAMMA, FLOOR, STEEP)
    dr, dg, db = er - fr, eg - fg, eb - fb
    length = tl.sqrt(dr * dr + dg * dg + db * db + 1e-8)
    value, slope = rho(length / wrong, KIND)
    s = tl.where(counted, validity * slope / (wrong * length), 0.0)
    return tl.where(counted, validity * value, 0.0), s * dr * sr, s * dg * sg, s * db * sb


@kernel
def _facing(normals, triangle, masks, back, at, inside, least):
    """Validity of a pixel's colour: where the surface is seen and faces the view, whose axis is at `back`."""
    seen = tl.load(triangle + at, mask=inside, other=-1) >= 0
    nx, ny, nz = load3(normals, at, seen)
    cosine = -nx * tl.load(back) - ny * tl.load(back + 1) - nz * tl.load(back + 2)
    ramp = tl.minimum(tl.maximum((cosine - least) / (1.0 - least), 0.0), 1.0)
    return tl.where(seen, ramp * tl.load(masks + at, mask=seen, other=0.0), 0.0)


@kernel
def _in_band(band, valid, at, row, column, inside, size):
    """Whether a pixel's coverage counts: its bit in `band` (S, words), where the mask's edge is known."""
    word = tl.load(band + row * ((size + 31) // 32) + column // 32, mask=inside, other=0)
    marked = inside & (((word >> (column % 32)) & 1) != 0)
    return marked & (tl.load(valid + at, mask=marked, other=0) != 0)


@kernel
def seen_energies(
    image, target, normals, triangle, masks, T, band, valid, mm, grad, colours, coverages,
    pixels, size, least, too_dark, too_wide, breadth,
    GAMMA: tl.constexpr, FLOOR: tl.constexpr, STEEP: tl.constexpr,
    COLOUR: tl.constexpr, COVERAGE: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`Photometric` of the first three of four channels and `Silhouette` of the last, the coverage; or of coverage
    alone (one channel); of view `program_id(1)`.

    COLOUR, COVERAGE: their robust kernels, -1 for one that is not wanted. Parts of each energy are (2, programs), the
    second of the validity. breadth: of the band, px. Most of an image counts for nothing, and is not read.
    """
    view = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, at = pixel < pixels, view * pixels + pixel
    none = tl.zeros([BLOCK], grad.dtype.element_ty)
    validity, counted = none, pixel < 0
    if COLOUR >= 0:
        validity = _facing(normals, triangle, masks, T + view * 16 + 8, at, inside, least)
    if COVERAGE >= 0:
        own = band + view * size * ((size + 31) // 32)
        counted = _in_band(own, valid, at, pixel // size, pixel % size, inside, size)
    read = (validity > 0) | counted
    c = tl.arange(0, 4)[None, :]
    gr, gg, gb, ga, energy, off = none, none, none, none, none, none
    if tl.max(read.to(tl.int32), 0) > 0:
        if CHANNELS == 4:
            r, g, b, a = unquad(tl.load(image + 4 * at[:, None] + c, mask=read[:, None], other=0.0))
        else:
            a = tl.load(image + at, mask=counted, other=0.0)
        if COLOUR >= 0:
            energy, gr, gg, gb = _photometric(
                r, g, b, target, at, validity > 0, validity, too_dark, GAMMA, FLOOR, STEEP, COLOUR
            )
        if COVERAGE >= 0:
            scale = breadth * tl.load(mm + view) / too_wide
            away = (a - tl.load(masks + at, mask=counted, other=0.0)) * scale
            value, slope = rho(away, COVERAGE)
            off, ga = tl.where(counted, value, 0.0), tl.where(counted, slope * scale, 0.0)
    part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    programs = tl.num_programs(0) * tl.num_programs(1)
    if COLOUR >= 0:
        tl.store(colours + part, tl.sum(energy, 0))
        tl.store(colours + programs + part, tl.sum(validity, 0))
    if COVERAGE >= 0:
        tl.store(coverages + part, tl.sum(off, 0))
        tl.store(coverages + programs + part, tl.sum(tl.where(counted, 1.0, 0.0), 0))
    if CHANNELS == 4:
        tl.store(grad + 4 * at[:, None] + c, quad(gr, gg, gb, ga), mask=inside[:, None])
    else:
        tl.store(grad + at, ga, mask=inside)


@kernel
def landmarks(
    predicted, observed, confidence, weight, neighbours, mm, grad, parts, counts, points,
    wrong, slide, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Length of a view's offsets in mm over `wrong`, less what slides along the contour."""
    n = tl.arange(0, BLOCK)
    inside = n < points
    view = tl.program_id(0).to(tl.int64)
    predicted, grad = predicted + view * points * 3, grad + view * points * 3
    observed, confidence = observed + view * points * 2, confidence + view * points
    validity = tl.load(confidence + n, mask=inside, other=0.0) * tl.load(
        weight + n, mask=inside, other=0.0
    )
    counted = validity > 0
    scale = tl.load(mm + view) / wrong
    ox, oy = (
        tl.load(observed + 2 * n, mask=counted, other=0.0),
        tl.load(observed + 2 * n + 1, mask=counted, other=0.0),
    )
    x = (tl.load(predicted + 3 * n, mask=counted, other=0.0) - ox) * scale
    y = (tl.load(predicted + 3 * n + 1, mask=counted, other=0.0) - oy) * scale
    # unit tangent of the detected contour, zero off it; the metric is symmetric
    before = tl.load(neighbours + 2 * n, mask=inside, other=0)
    after = tl.load(neighbours + 2 * n + 1, mask=inside, other=0)
    tx = tl.load(observed + 2 * after, mask=inside, other=0.0) - tl.load(
        observed + 2 * before, mask=inside, other=0.0
    )
    ty = tl.load(observed + 2 * after + 1, mask=inside, other=0.0)
    ty -= tl.load(observed + 2 * before + 1, mask=inside, other=0.0)
    norm = tl.maximum(tl.sqrt(tx * tx + ty * ty), 1e-9)
    tx, ty = tx / norm, ty / norm
    keep = 1.0 - slide
    along = keep * (tx * x + ty * y)
    rx, ry = x - along * tx, y - along * ty
    length = tl.sqrt(rx * rx + ry * ry + 1e-12)
    value, slope = rho(length, KIND)
    tl.store(parts + view, tl.sum(tl.where(counted, validity * value, 0.0), 0))
    tl.store(counts + view, tl.sum(validity, 0))
    s = tl.where(counted, validity * slope * scale / length, 0.0)
    along = keep * (tx * rx + ty * ry)
    store3(grad, n, s * (rx - along * tx), s * (ry - along * ty), 0.0 * s, inside)
