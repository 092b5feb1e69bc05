"""Triton kernels of the light field between views: its nine harmonics, and the smooth remainder.

The laws stand in `light_field.py` and `shared_albedo.py`. Views side by side, so that what they say about a texel
meets in registers; sums over texels are left in parts, one per program.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportAssignmentType=false
from __future__ import annotations

import triton.language as tl

from hrnfit.energy.sample_kernels import between_pixels
from hrnfit.energy.skin_kernels import robust_mean
from hrnfit.geometry.definite_kernels import eliminated
from hrnfit.geometry.launched import kernel
from hrnfit.render import shade

LINEAR = tl.constexpr(shade.LINEAR)
PRODUCT = tl.constexpr(shade.PRODUCT)
ZONAL = tl.constexpr(shade.ZONAL)
DIFFERENCE = tl.constexpr(shade.DIFFERENCE)


@kernel
def _harmonic(x, y, z, h: tl.constexpr):
    """One of `sh_basis`."""
    value = x * 0.0 + 1.0
    if h == 1:
        value = LINEAR * y
    if h == 2:
        value = LINEAR * z
    if h == 3:
        value = LINEAR * x
    if h == 4:
        value = PRODUCT * x * y
    if h == 5:
        value = PRODUCT * y * z
    if h == 6:
        value = ZONAL * (3.0 * z * z - 1.0)
    if h == 7:
        value = PRODUCT * x * z
    if h == 8:
        value = DIFFERENCE * (x * x - y * y)
    return value


@kernel
def _normal(normals, frame, motion, v, p, P, seen, mask):
    """Normals of texels p in the frames of cameras v. seen: of the views alone, so that what is theirs is read once."""
    at = 3 * (tl.load(frame + v, mask=seen, other=0) * P + p)
    x = tl.load(normals + at, mask=mask, other=0.0)
    y = tl.load(normals + at + 1, mask=mask, other=0.0)
    z = tl.load(normals + at + 2, mask=mask, other=0.0)
    M = motion + 12 * v
    return _row(M, x, y, z, seen), _row(M + 4, x, y, z, seen), _row(M + 8, x, y, z, seen)


@kernel
def _row(M, x, y, z, seen):
    a, b = tl.load(M, mask=seen, other=0.0), tl.load(M + 1, mask=seen, other=0.0)
    return a * x + b * y + tl.load(M + 2, mask=seen, other=0.0) * z


@kernel
def _lit(light, x, y, z, v, seen, c: tl.constexpr):
    """Harmonics of light (V, 9, 3) at normals, one channel."""
    value = tl.zeros_like(x)
    for h in tl.static_range(9):
        value += _harmonic(x, y, z, h) * tl.load(light + 27 * v + 3 * h + c, mask=seen, other=0.0)
    return value


@kernel
def _weights(
    colour, plain, normals, frame, motion, light, weight, v, t, at, mask, V, P, count, inverse,
    FIRST: tl.constexpr,
):  # fmt: skip
    """Weights (VP, texels) of the next round, where two views see; `weight` (V, count): of the round before."""
    own = tl.load(plain + v * P + at, mask=mask, other=0.0)
    own = tl.where((tl.sum((own > 0).to(tl.int32), axis=0) >= 2)[None, :], own, 0.0)
    if not FIRST:
        last = tl.load(weight + v * count + t, mask=mask, other=0.0)
        whole = tl.maximum(tl.sum(last, axis=0), 1e-9)
        seen = v < V
        x, y, z = _normal(normals, frame, motion, v, at, P, seen, mask)
        squared = tl.zeros_like(own)
        for c in tl.static_range(3):
            r = tl.load(colour + (3 * v + c) * P + at, mask=mask, other=0.0)
            r -= _lit(light, x, y, z, v, seen, c)
            r -= (tl.sum(last * r, axis=0) / whole)[None, :]
            squared += r * r
        rest = 1.0 / (1.0 + squared * inverse)
        own = own * rest * rest
    return own


@kernel
def harmonic_sums(
    colour, plain, normals, frame, motion, light, weight, parts, V, P, count, stride, inverse, each,
    VP: tl.constexpr, QP: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """One round of `harmonic_field`: weights of every `stride`-th texel, stored, and this program's part of the sums over
    `each` stretches of them.

    parts: per program (2 QP + CP, QP), products with the weighted harmonics of all views: of these through the
    eliminated albedo, of the bare harmonics (which count within a view), and of the colours of all views less their
    mean (which count within a view); float32.
    """
    v, q, k = tl.arange(0, VP)[:, None], tl.arange(0, QP)[None, :], tl.arange(0, CP)[None, :]
    harmonic, view = q % 9, q // 9
    across, own = tl.zeros((QP, QP), tl.float32), tl.zeros((QP, QP), tl.float32)
    pull = tl.zeros((CP, QP), tl.float32)
    stretch = 0
    while stretch < each:
        t = (tl.program_id(0) * each + stretch) * BLOCK + tl.arange(0, BLOCK)
        inside = t < count
        at = t * stride
        mask = (v < V) & inside[None, :]
        w = _weights(
            colour, plain, normals, frame, motion, light, weight, v, t[None, :], at[None, :], mask, V, P,
            count, inverse, FIRST,
        )  # fmt: skip
        tl.debug_barrier()  # all have read the round before
        tl.store(weight + v * count + t[None, :], w, mask=mask)
        tl.debug_barrier()
        whole = tl.maximum(tl.sum(w, axis=0), 1e-9)
        there = (q < 9 * V) & inside[:, None]
        x, y, z = _normal(normals, frame, motion, view, at[:, None], P, q < 9 * V, there)
        basis = _harmonic(x, y, z, 0)
        for h in tl.static_range(1, 9):
            basis = tl.where(harmonic == h, _harmonic(x, y, z, h), basis)
        weighted = basis * tl.load(weight + view * count + t[:, None], mask=there, other=0.0)
        seen = (k < 3 * V) & inside[:, None]
        against = tl.load(colour + k * P + at[:, None], mask=seen, other=0.0)
        for c in tl.static_range(3):
            value = tl.load(colour + (3 * v + c) * P + at[None, :], mask=mask, other=0.0)
            mean = tl.sum(w * value, axis=0) / whole
            against -= tl.where(k % 3 == c, mean[:, None], 0.0)
        across += tl.dot(tl.trans(weighted / whole[:, None]), weighted, input_precision="ieee")
        own += tl.dot(tl.trans(basis), weighted, input_precision="ieee")
        pull += tl.dot(tl.trans(against), weighted, input_precision="ieee")
        stretch += 1
    parts += tl.program_id(0) * (2 * QP + CP) * QP
    row = tl.arange(0, QP)[:, None]
    tl.store(parts + row * QP + q, across)
    tl.store(parts + (QP + row) * QP + q, own)
    row = tl.arange(0, CP)[:, None]
    tl.store(parts + (2 * QP + row) * QP + q, pull)


@kernel
def folded(parts, out, programs, size, GP: tl.constexpr, BLOCK: tl.constexpr):
    """Sums (size), float64, of what each program has left."""
    e, g = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, GP)[:, None]
    mask = (g < programs) & (e < size)[None, :]
    value = tl.load(parts + g * size + e[None, :], mask=mask, other=0.0).to(tl.float64)
    tl.store(out + e, tl.sum(value, axis=0), mask=e < size)


@kernel
def harmonic_light(sums, room, light, V, ridge, QP: tl.constexpr):
    """light (V, 9, 3) from the sums of `harmonic_sums` (room: see `eliminated`); not a number where the system is
    not definite."""
    q, r = tl.arange(0, QP)[:, None], tl.arange(0, QP)[None, :]
    flat = tl.arange(0, QP)
    counted = flat < 9 * V
    own = sums + QP * QP
    within = tl.load(own + q * QP + r, mask=q // 9 == r // 9, other=0.0)
    # the first harmonic is 1: with itself it sums up the weights of its view
    weights = tl.load(own + flat * (QP + 1), mask=counted & (flat % 9 == 0), other=0.0)
    evidence = tl.maximum(tl.sum(weights) / V, 1e-6)
    system = within - tl.load(sums + q * QP + r) + tl.where(q == r, ridge * evidence, 0.0)
    inverse = eliminated(system, room, 9 * V, QP)
    inverse = tl.where((q < 9 * V) & (r < 9 * V), inverse, 0.0)
    for c in tl.static_range(3):
        right = tl.load(own + (QP + 3 * (r // 9) + c) * QP + r, mask=r < 9 * V, other=0.0)
        value = tl.sum(inverse * right, axis=1)
        tl.store(light + 3 * flat + c, value.to(tl.float32), mask=counted)


@kernel
def _smooth_part(image, v, row, column, mask, size, step, c: tl.constexpr):
    """A plane of image (V, 4, size, size), spread `step`-fold, at (row, column)."""
    y, x = (row + 0.5) / step - 0.5, (column + 0.5) / step - 0.5
    return between_pixels(image + (4 * v + c) * size * size, y, x, size, mask)


@kernel
def disagreement(
    colour, plain, normals, frame, motion, light, image, flat, out, V, P, S, scale, size, step,
    VP: tl.constexpr, BLOCK: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """What each view reads at texels less the harmonics, against the views' robust mean.

    KIND "first": out (V, 4, P), that times its weight, and the weight; "next": the mean is of what is left by the
    smooth field in `image`; "last": out (V, 3, P), the harmonics and that field.
    """
    p, v = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, VP)[:, None]
    mask = (v < V) & (p < P)[None, :]
    seen = v < V
    x, y, z = _normal(normals, frame, motion, v, p[None, :], P, seen, mask)
    at = v * P + p[None, :]
    r, g, b = (
        _lit(light, x, y, z, v, seen, 0),
        _lit(light, x, y, z, v, seen, 1),
        _lit(light, x, y, z, v, seen, 2),
    )
    sr, sg, sb = tl.zeros_like(r), tl.zeros_like(r), tl.zeros_like(r)
    if KIND != "first":
        place = tl.load(flat + p, mask=p < P, other=0)[None, :]
        row, column = place // S, place % S
        whole = tl.maximum(_smooth_part(image, v, row, column, mask, size, step, 3), 1e-6)
        sr = _smooth_part(image, v, row, column, mask, size, step, 0) / whole
        sg = _smooth_part(image, v, row, column, mask, size, step, 1) / whole
        sb = _smooth_part(image, v, row, column, mask, size, step, 2) / whole
    if KIND == "last":
        out += 3 * v * P + p[None, :]
        tl.store(out, r + sr, mask=mask)
        tl.store(out + P, g + sg, mask=mask)
        tl.store(out + 2 * P, b + sb, mask=mask)
    else:
        colour += 3 * v * P + p[None, :]
        r = tl.load(colour, mask=mask, other=0.0) - r
        g = tl.load(colour + P, mask=mask, other=0.0) - g
        b = tl.load(colour + 2 * P, mask=mask, other=0.0) - b
        given = tl.load(plain + at, mask=mask, other=0.0)
        w, mr, mg, mb, _ = robust_mean(r - sr, g - sg, b - sb, given, scale, 3)
        twice = tl.sum((given > 0).to(tl.int32), axis=0) >= 2
        w = tl.where(twice[None, :], w, 0.0) + 1e-6 * given
        out += 4 * v * P + p[None, :]
        tl.store(out, w * (r - mr[None, :]), mask=mask)
        tl.store(out + P, w * (g - mg[None, :]), mask=mask)
        tl.store(out + 2 * P, w * (b - mb[None, :]), mask=mask)
        tl.store(out + 3 * P, w, mask=mask)


@kernel
def pooled(planes, texel, out, P, S, size, step, BLOCK: tl.constexpr):
    """out (V, 4, size, size): means over step x step texels of planes (V, 4, P), 0 outside the chart. texel (S, S): which
    of P, or -1."""
    n, v = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1)
    inside = n < size * size
    i, j = n // size, n % size
    c = tl.arange(0, 4)[:, None]
    total = tl.zeros((4, BLOCK), tl.float32)
    k = 0
    while k < step * step:
        row, column = i * step + k // step, j * step + k % step
        there = inside & (row < S) & (column < S)
        p = tl.load(texel + row * S + column, mask=there, other=-1)
        mask = (p >= 0)[None, :] & (c < 4)
        total += tl.load(planes + (4 * v + c) * P + p[None, :], mask=mask, other=0.0)
        k += 1
    # a window over the border is the mean of what lies inside, as of `avg_pool2d`
    count = tl.minimum(step, S - i * step) * tl.minimum(step, S - j * step)
    where = out + (4 * v + c) * size * size + n[None, :]
    count = tl.maximum(count, 1)[None, :].to(tl.float32)
    tl.store(where, total / count, mask=inside[None, :] & (c < 4))


@kernel
def blurred(image, taps, out, size, along, REACH: tl.constexpr, BLOCK: tl.constexpr):
    """One axis of a convolution of planes (planes, size, size) with 2 REACH + 1 taps, zero outside. along: step of that
    axis."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < size * size
    place = (n // along) % size
    plane = tl.program_id(1) * size * size
    total = tl.zeros((BLOCK,), tl.float32)
    for t in tl.static_range(-REACH, REACH + 1):
        there = inside & (place + t >= 0) & (place + t < size)
        value = tl.load(image + plane + n + t * along, mask=there, other=0.0)
        total += tl.load(taps + REACH + t) * value
    tl.store(out + plane + n, total, mask=inside)
