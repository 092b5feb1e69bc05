"""Triton: the photometric energy per pixel and the landmark energy per point, with their gradients.

The laws are those of `energy/photometric.py` and `energy/landmark.py`. Sums are not yet divided by the validity,
of which every program writes its part.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.energy.robust_kernels import rho
from hrnfit.geometry.launched import kernel
from hrnfit.geometry.mesh_cuda_kernels import load3, store3


@kernel
def _encoded(linear, GAMMA: tl.constexpr, FLOOR: tl.constexpr, STEEP: tl.constexpr):
    """Gamma-encoded light and its slope. STEEP: the slope of the straight part below FLOOR."""
    bright = tl.maximum(linear, FLOOR)
    curved = tl.exp(GAMMA * tl.log(bright))
    slope = tl.where(linear > FLOOR, GAMMA * curved / bright, STEEP)
    return curved + (linear - bright) * STEEP, slope


@kernel
def photometric(
    image, target, normals, triangle, masks, T, grad, parts, counts, stride, per_view, pixels,
    least, wrong, GAMMA: tl.constexpr, FLOOR: tl.constexpr, STEEP: tl.constexpr,
    KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Length of the difference in gamma space over `wrong`, of images whose pixels lie `stride` apart; counts where the surface is seen and faces the view."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    seen = tl.load(triangle + at, mask=at < pixels, other=-1) >= 0
    nx, ny, nz = load3(normals, at, seen)
    back = T + (at // per_view) * 16 + 8  # third row: the camera's axis
    cosine = -(
        nx * tl.load(back, mask=seen, other=0.0) + ny * tl.load(back + 1, mask=seen, other=0.0)
    )
    cosine -= nz * tl.load(back + 2, mask=seen, other=0.0)
    ramp = tl.minimum(tl.maximum((cosine - least) / (1.0 - least), 0.0), 1.0)
    validity = tl.where(seen, ramp * tl.load(masks + at, mask=seen, other=0.0), 0.0)
    counted = validity > 0
    r = tl.load(image + stride * at, mask=counted, other=0.0)
    g = tl.load(image + stride * at + 1, mask=counted, other=0.0)
    b = tl.load(image + stride * at + 2, mask=counted, other=0.0)
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
    tl.store(parts + tl.program_id(0), tl.sum(tl.where(counted, validity * value, 0.0), 0))
    tl.store(counts + tl.program_id(0), tl.sum(validity, 0))
    s = tl.where(counted, validity * slope / (wrong * length), 0.0)
    store3(grad, at, s * dr * sr, s * dg * sg, s * db * sb, at < pixels)


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
