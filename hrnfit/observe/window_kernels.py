"""Triton kernel that cuts windows from photographs: the law of `window_look.py`, for all views in one launch.

Every operation is rounded as torch rounds it on the CPU, places on the photograph included, so that both look at the
same places: launch it without fused multiplications. Nothing is read outside a level, wherever a window lies.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def _distorted(x, y, camera, LENS: tl.constexpr):
    """`brown.distort_parts`, and `brown.is_valid` there. camera: a row of `windows`."""
    k1, k2 = tl.load(camera + 8).to(tl.float32), tl.load(camera + 9).to(tl.float32)
    p1, p2 = tl.load(camera + 10).to(tl.float32), tl.load(camera + 11).to(tl.float32)
    k3 = tl.load(camera + 12).to(tl.float32)
    r2 = x * x + y * y
    a = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    d_a = k1 + r2 * (2.0 * k2 + 3.0 * r2 * k3)
    if LENS > 5:
        k4, k5 = tl.load(camera + 13).to(tl.float32), tl.load(camera + 14).to(tl.float32)
        k6 = tl.load(camera + 15).to(tl.float32)
        bottom = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
        a = tl.div_rn(a, bottom)
        d_a = tl.div_rn(d_a - a * (k4 + r2 * (2.0 * k5 + 3.0 * r2 * k6)), bottom)
    cross = 2.0 * x * y * d_a + 2.0 * p1 * x + 2.0 * p2 * y
    xx = a + 2.0 * x * x * d_a + 2.0 * p1 * y + 6.0 * p2 * x
    yy = a + 2.0 * y * y * d_a + 6.0 * p1 * y + 2.0 * p2 * x
    xy, yx = cross, cross
    a += 2.0 * (p1 * y + p2 * x)
    xd, yd = x * a + p2 * r2, y * a + p1 * r2
    if LENS > 8:
        s1, s2 = tl.load(camera + 16).to(tl.float32), tl.load(camera + 17).to(tl.float32)
        s3, s4 = tl.load(camera + 18).to(tl.float32), tl.load(camera + 19).to(tl.float32)
        xd += r2 * (s1 + r2 * s2)
        yd += r2 * (s3 + r2 * s4)
        prism_x, prism_y = s1 + 2.0 * r2 * s2, s3 + 2.0 * r2 * s4
        xx, xy = xx + 2.0 * x * prism_x, xy + 2.0 * y * prism_x
        yx, yy = yx + 2.0 * x * prism_y, yy + 2.0 * y * prism_y
    fold = tl.load(camera + 7).to(tl.float32)
    return xd, yd, (xx * yy - xy * yx > 0) & (r2 < fold * fold)


@kernel
def _photograph_pixel(x, y, placed, camera, LENS: tl.constexpr):
    """Of a place in the window, px, float64: where it is in the photograph, float32, and whether the lens reaches
    there."""
    inverse = 1.0 / tl.load(placed)
    x, y = tl.load(placed + 3) + inverse * x, tl.load(placed + 4) + inverse * y
    reached = x == x
    if LENS > 0:
        fx, skew, cx = tl.load(camera), tl.load(camera + 1), tl.load(camera + 2)
        fy, cy = tl.load(camera + 3), tl.load(camera + 4)
        y = (y - cy) / fy
        x = ((x - cx) / fx).to(tl.float32) - (skew / fx * y).to(tl.float32)
        x, y, reached = _distorted(x, y.to(tl.float32), camera, LENS)
        x = fx.to(tl.float32) * x + (skew.to(tl.float32) * y + cx.to(tl.float32))
        y = fy.to(tl.float32) * y + cy.to(tl.float32)
    return x.to(tl.float32), y.to(tl.float32), reached


@kernel
def _on_level(at, block, length):
    """Photograph px as px from the first centre of a framed line of blocks; block, length: float64."""
    grid = tl.div_rn(at, block.to(tl.float32)) + 1.0
    grid = grid * (2.0 / length).to(tl.float32) - 1.0
    # torch rounds this product and sum once; the interpreter's fma does so twice, float64 everywhere once
    return ((grid + 1.0).to(tl.float64) * (0.5 * length) - 0.5).to(tl.float32)


@kernel
def _level(placed):
    return tl.load(placed + 14).to(tl.int64).to(tl.pointer_type(tl.float32))


@kernel
def _bilinear(plane, corner, right, down, fx, fy):
    """Of four neighbours; right and down: steps to the next ones, 0 at the border."""
    at = plane + corner
    value = tl.load(at) * ((1.0 - fy) * (1.0 - fx)) + tl.load(at + right) * ((1.0 - fy) * fx)
    return value + tl.load(at + down) * (fy * (1.0 - fx)) + tl.load(at + down + right) * (fy * fx)


@kernel
def _between(level, x, y, h, w):
    """Red, green, blue and mask between 2 x 2 blocks, the border's going on."""
    x = tl.minimum(tl.maximum(x, 0.0), w - 1.0)
    y = tl.minimum(tl.maximum(y, 0.0), h - 1.0)
    left, top = x.to(tl.int32), y.to(tl.int32)
    right, down = tl.where(left < w - 1, 1, 0), tl.where(top < h - 1, w, 0)
    fx, fy, corner = x - left, y - top, top * w + left
    red = _bilinear(level, corner, right, down, fx, fy)
    green = _bilinear(level + h * w, corner, right, down, fx, fy)
    blue = _bilinear(level + 2 * h * w, corner, right, down, fx, fy)
    return red, green, blue, _bilinear(level + 3 * h * w, corner, right, down, fx, fy)


@kernel
def _cubic_weight(t, TAP: tl.constexpr):
    """Of one of four neighbours in a row, of a place t behind the second; A = -0.75 as in torch."""
    x = t + 1.0
    if TAP == 1:
        x = t
    elif TAP == 2:
        x = 1.0 - t
    elif TAP == 3:
        x = 2.0 - t
    if TAP == 0 or TAP == 3:
        weight = ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0
    else:
        weight = (1.25 * x - 2.25) * x * x + 1.0
    return weight


@kernel
def _bicubic(level, x, y, h, w):
    """Red, green and blue between 4 x 4 blocks, the border's going on; not below zero."""
    # farther out all neighbours are the border's
    x = tl.minimum(tl.maximum(x, -4.0), w + 4.0)
    y = tl.minimum(tl.maximum(y, -4.0), h + 4.0)
    left, top = tl.floor(x), tl.floor(y)
    fx, fy = x - left, y - top
    left, top = left.to(tl.int32), top.to(tl.int32)
    red, green, blue = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    for v in tl.static_range(4):
        line = tl.minimum(tl.maximum(top + (v - 1), 0), h - 1) * w
        r, g, b = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
        for u in tl.static_range(4):
            at = level + line + tl.minimum(tl.maximum(left + (u - 1), 0), w - 1)
            weight = _cubic_weight(fx, u)
            r += tl.load(at) * weight
            g += tl.load(at + h * w) * weight
            b += tl.load(at + 2 * h * w) * weight
        weight = _cubic_weight(fy, v)
        red, green, blue = red + r * weight, green + g * weight, blue + b * weight
    return tl.maximum(red, 0.0), tl.maximum(green, 0.0), tl.maximum(blue, 0.0)


@kernel
def _looked(i, placed, camera, size, h, w, LENS: tl.constexpr):
    """Sums over the look-ups of window pixels: red, green, blue, mask, and how many fell into the photograph; and
    where in the level the last one did."""
    level = _level(placed)
    height, width, block = tl.load(placed + 15), tl.load(placed + 16), tl.load(placed + 17)
    per_axis = tl.load(placed + 18)
    samples = per_axis.to(tl.int32)
    end, bottom = tl.load(camera + 6).to(tl.float32), tl.load(camera + 5).to(tl.float32)
    row, column = (i // size) * samples, (i % size) * samples
    step = 1.0 / per_axis
    red = (i * 0).to(tl.float32)
    green, blue, mask, x, y, hits = red, red, red, red, red, i * 0
    v = samples * 0
    while v < samples:
        y_window = ((row + v).to(tl.float64) + 0.5) * step
        u = samples * 0
        while u < samples:
            x_window = ((column + u).to(tl.float64) + 0.5) * step
            x, y, reached = _photograph_pixel(x_window, y_window, placed, camera, LENS)
            hits += (reached & (x >= 0) & (x <= end) & (y >= 0) & (y <= bottom)).to(tl.int32)
            x, y = _on_level(x, block, width), _on_level(y, block, height)
            r, g, b, given = _between(level, x, y, h, w)
            red, green, blue = red + r, green + g, blue + b
            mask += tl.where(reached, given, 0.0)
            u += 1
        v += 1
    return red, green, blue, mask, hits, x, y


@kernel
def windows(
    images, masks, inside, placed, cameras,
    PLACED: tl.constexpr, CAMERA: tl.constexpr, LENS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Pixels of a window, view by view: images (V, S, S, 3), masks (V, S, S), inside (V, S, S) int8.

    placed (V, PLACED): 14 numbers of `Placement.packed`, then address, height and width of the level (4, h, w), side
    of its blocks, look-ups per pixel and axis, whether the window enlarges, and S. cameras (V, CAMERA): fx, skew, cx,
    fy, cy, height, width, the lens's fold and 12 coefficients, of which LENS are used. Both float64.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    view = tl.program_id(1)
    placed, camera = placed + view * PLACED, cameras + view * CAMERA
    h, w = tl.load(placed + 15).to(tl.int32), tl.load(placed + 16).to(tl.int32)
    size = tl.load(placed + 20).to(tl.int32)
    red, green, blue, mask, hits, x, y = _looked(i, placed, camera, size, h, w, LENS)
    looks = tl.load(placed + 18) * tl.load(placed + 18)
    count = looks.to(tl.float32)
    red, green, blue = tl.div_rn(red, count), tl.div_rn(green, count), tl.div_rn(blue, count)
    if tl.load(placed + 19) > 0:  # then there is one look-up
        red, green, blue = _bicubic(_level(placed), x, y, h, w)
    there = i < size * size
    out = view.to(tl.int64) * size * size + i
    tl.store(images + 3 * out, red, mask=there)
    tl.store(images + 3 * out + 1, green, mask=there)
    tl.store(images + 3 * out + 2, blue, mask=there)
    tl.store(masks + out, tl.div_rn(mask, count), mask=there)
    tl.store(inside + out, (hits == looks.to(tl.int32)).to(tl.int8), mask=there)
