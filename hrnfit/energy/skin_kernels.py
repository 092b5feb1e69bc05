"""Triton kernels of the shared albedo: reading texels, their consensus, their blocks of the normal equations.

The laws stand in `shared_albedo.py`. A program takes a stretch of texels with all views, so that what the
views say about a texel meets in registers and is not written out between the steps. Texels are last in memory:
threads side by side wrote 36 bytes apart before, and the memory's traffic was nine times the data.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.geometry.launched import kernel


@kernel
def _turned(M, x, y, z, row: tl.constexpr):
    """One row of a rigid motion (3, 4) applied to points, without its shift."""
    a, b, c = tl.load(M + 4 * row), tl.load(M + 4 * row + 1), tl.load(M + 4 * row + 2)
    return a * x + b * y + c * z


@kernel
def _tap(channels, row, column, c: tl.constexpr, S, inside):
    """One channel of a window at pixels, 0 outside."""
    there = inside & (row >= 0) & (row < S) & (column >= 0) & (column < S)
    return tl.load(channels + (c * S + row) * S + column, mask=there, other=0.0)


@kernel
def _bilinear(channels, row, column, fy, fx, c: tl.constexpr, S, inside):
    top = (1.0 - fx) * _tap(channels, row, column, c, S, inside)
    top += fx * _tap(channels, row, column + 1, c, S, inside)
    low = (1.0 - fx) * _tap(channels, row + 1, column, c, S, inside)
    low += fx * _tap(channels, row + 1, column + 1, c, S, inside)
    return (1.0 - fy) * top + fy * low


@kernel
def read(
    channels, K, motion, frame, head, normals, depth, compared, colour, jacobian, weight,
    P, S, size, least, margin, BLOCK: tl.constexpr,
):  # fmt: skip
    """What one view, the program's second index, reads at texels: colour (V, 3, P), its derivative in
    the head frame (V, 3, 3, P) and the weight (V, P). channels: (V, 10, S, S), of which `size` px are used."""
    v = tl.program_id(1).to(tl.int64)  # 9 V P numbers: 2.4e9 of 16 views at 4096 texels
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = p < P
    t = tl.load(frame + v)
    M = motion + 12 * v
    at = 3 * (t * P + p)
    hx = tl.load(head + at, mask=inside, other=0.0)
    hy = tl.load(head + at + 1, mask=inside, other=0.0)
    hz = tl.load(head + at + 2, mask=inside, other=0.0)
    x = _turned(M, hx, hy, hz, 0) + tl.load(M + 3)
    y = _turned(M, hx, hy, hz, 1) + tl.load(M + 7)
    z = _turned(M, hx, hy, hz, 2) + tl.load(M + 11)
    z = tl.where(inside, z, 1.0)
    k = K + 9 * v
    fx, fy = tl.load(k), tl.load(k + 4)
    u = fx * (x / z) + tl.load(k + 1) * (y / z) + tl.load(k + 2)
    w = tl.load(k + 3) * (x / z) + fy * (y / z) + tl.load(k + 5)
    # positions far outside, or not finite, are read nowhere and must not overflow the index
    usable = inside & (u > -1e6) & (u < 1e6) & (w > -1e6) & (w < 1e6)
    u, w = tl.where(usable, u, -10.0), tl.where(usable, w, -10.0)
    column, row = tl.floor(u - 0.5).to(tl.int32), tl.floor(w - 0.5).to(tl.int32)
    px, py = u - 0.5 - column, w - 0.5 - row
    own = channels + v.to(tl.int64) * S * S * 10
    out = v * P + p
    for c in tl.static_range(3):
        value = _bilinear(own, row, column, py, px, c, S, usable)
        tl.store(colour + (3 * v + c) * P + p, value, mask=inside)
    ax, ay = fx / z, fy / z
    for c in tl.static_range(3):
        gx = ax * _bilinear(own, row, column, py, px, 3 + c, S, usable)
        gy = ay * _bilinear(own, row, column, py, px, 6 + c, S, usable)
        gz = -(gx * (x / z) + gy * (y / z))
        for j in tl.static_range(3):
            value = gx * tl.load(M + j) + gy * tl.load(M + 4 + j) + gz * tl.load(M + 8 + j)
            tl.store(jacobian + (9 * v + 3 * c + j) * P + p, value, mask=inside)
    size = tl.load(size)
    nx = tl.load(normals + at, mask=inside, other=0.0)
    ny = tl.load(normals + at + 1, mask=inside, other=0.0)
    nz = tl.load(normals + at + 2, mask=inside, other=0.0)
    along = _turned(M, nx, ny, nz, 0) * x + _turned(M, nx, ny, nz, 1) * y
    along += _turned(M, nx, ny, nz, 2) * z
    cosine = -along / tl.sqrt(x * x + y * y + z * z)
    ramp = tl.minimum(tl.maximum((cosine - least) / (1.0 - least), 0.0), 1.0)
    near = tl.full((BLOCK,), float("inf"), tl.float32)
    middle_x = tl.minimum(tl.maximum(u.to(tl.int32), 0), S - 1)
    middle_y = tl.minimum(tl.maximum(w.to(tl.int32), 0), S - 1)
    for dy in tl.static_range(-1, 2):
        for dx in tl.static_range(-1, 2):
            r, s = middle_y + dy, middle_x + dx
            there = usable & (r >= 0) & (r < S) & (s >= 0) & (s < S)
            place = depth + v.to(tl.int64) * S * S + r * S + s
            near = tl.minimum(near, tl.load(place, mask=there, other=float("inf")))
    seen = (z < near + margin) & (u > 1.0) & (u < size - 1.0) & (w > 1.0) & (w < size - 1.0)
    seen = seen & (_bilinear(own, row, column, py, px, 9, S, usable) > 0.99) & usable
    ramp = ramp * tl.load(compared + p, mask=inside, other=0.0)
    tl.store(weight + out, tl.where(seen, ramp, 0.0), mask=inside)


@kernel
def _colours(colour, light, at, mask):
    return tl.load(colour + at, mask=mask, other=0.0) - tl.load(light + at, mask=mask, other=0.0)


@kernel
def robust_mean(r, g, b, given, scale, ROUNDS: tl.constexpr):
    """Of colours (views, texels): weights, mean of each channel, squared residuals over `scale` squared."""
    w, inverse = given, 1.0 / (scale * scale)
    squared = tl.zeros_like(given)
    mr = tl.sum(squared, axis=0)
    mg, mb = mr, mr
    for i in tl.static_range(ROUNDS + 1):
        total = tl.maximum(tl.sum(w, axis=0), 1e-9)
        mr, mg, mb = tl.sum(w * r, axis=0), tl.sum(w * g, axis=0), tl.sum(w * b, axis=0)
        mr, mg, mb = mr / total, mg / total, mb / total
        dr, dg, db = r - mr[None, :], g - mg[None, :], b - mb[None, :]
        squared = (dr * dr + dg * dg + db * db) * inverse
        if i < ROUNDS:
            rest = 1.0 / (1.0 + squared)
            w = given * rest * rest
    return w, mr, mg, mb, squared


@kernel
def agree(
    colour, light, plain, mean, residual, weight, sums, V, P, scale,
    VP: tl.constexpr, ROUNDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Robust mean (3, P), residuals (V, 3, P) and weights (V, P) of texels, and the program's sums: of the energy, and of the
    weights it was taken over."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.arange(0, VP)
    out = v[:, None] * P + p[None, :]
    mask = (v[:, None] < V) & (p[None, :] < P)
    at = 3 * v[:, None] * P + p[None, :]
    r = _colours(colour, light, at, mask)
    g = _colours(colour, light, at + P, mask)
    b = _colours(colour, light, at + 2 * P, mask)
    given = tl.load(plain + out, mask=mask, other=0.0)
    w, mr, mg, mb, squared = robust_mean(r, g, b, given, scale, ROUNDS)
    dr, dg, db = r - mr[None, :], g - mg[None, :], b - mb[None, :]
    twice = tl.sum((given > 0).to(tl.int32), axis=0) >= 2
    w = tl.where(twice[None, :], w, 0.0)
    counted = tl.where(twice[None, :] & mask, given, 0.0)
    tl.store(weight + out, w, mask=mask)
    tl.store(residual + at, dr, mask=mask)
    tl.store(residual + at + P, dg, mask=mask)
    tl.store(residual + at + 2 * P, db, mask=mask)
    tl.store(mean + p, mr, mask=p < P)
    tl.store(mean + P + p, mg, mask=p < P)
    tl.store(mean + 2 * P + p, mb, mask=p < P)
    cost = counted * scale * scale * squared / (1.0 + squared)
    tl.store(sums + 2 * tl.program_id(0), tl.sum(cost.to(tl.float64)))
    tl.store(sums + 2 * tl.program_id(0) + 1, tl.sum(counted.to(tl.float64)))


@kernel
def settled(sums, energy, seen, programs, BLOCK: tl.constexpr):
    """The mean energy and the sum of weights from what each program of `agree` has left."""
    cost, counted = tl.zeros((BLOCK,), tl.float64), tl.zeros((BLOCK,), tl.float64)
    first = 0
    while first < programs:
        g = first + tl.arange(0, BLOCK)
        cost += tl.load(sums + 2 * g, mask=g < programs, other=0.0)
        counted += tl.load(sums + 2 * g + 1, mask=g < programs, other=0.0)
        first += BLOCK
    whole = tl.maximum(tl.sum(counted), 1e-9)
    tl.store(energy, (tl.sum(cost) / whole).to(tl.float32))
    tl.store(seen, whole.to(tl.float32))


@kernel
def _centred(columns, at, w, whole, there, P, c: tl.constexpr, i: tl.constexpr, K: tl.constexpr):
    """A column of each view less its mean over the views, one channel."""
    value = tl.load(columns + at + (c * K + i) * P, mask=there, other=0.0)
    return value - (tl.sum(w * value, axis=0) / whole)[None, :]


@kernel
def blocks(
    columns, residual, weight, seen, out, V, P,
    K: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gauss-Newton blocks and pulls of texels, (K K + K, P), from columns (V, 3, K, P). All views of a texel belong to one
    thread: sums over them then cost no exchange."""
    # 64 bits: columns are as many as views, texels, 3 and channels together
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = tl.arange(0, VP)[:, None].to(tl.int64)
    there = (v < V) & (p < P)[None, :]
    at = v * P + p[None, :]
    w = tl.load(weight + at, mask=there, other=0.0) * (1.0 / tl.load(seen))
    whole = tl.maximum(tl.sum(w, axis=0), 1e-12)
    e = tl.arange(0, KP * KP)[:, None]
    gram = tl.zeros((KP * KP, BLOCK), tl.float32)
    a = tl.arange(0, KP)[:, None]
    pull = tl.zeros((KP, BLOCK), tl.float32)
    for c in tl.static_range(3):
        r = w * tl.load(residual + (3 * v + c) * P + p[None, :], mask=there, other=0.0)
        for i in tl.static_range(K):
            own = _centred(columns, 3 * K * v * P + p[None, :], w, whole, there, P, c, i, K)
            pull += tl.where(a == i, tl.sum(r * own, axis=0)[None, :], 0.0)
            gram += tl.where(e == i * KP + i, tl.sum(w * own * own, axis=0)[None, :], 0.0)
            for j in tl.static_range(i + 1, K):
                other = _centred(columns, 3 * K * v * P + p[None, :], w, whole, there, P, c, j, K)
                value = tl.sum(w * own * other, axis=0)[None, :]
                gram += tl.where((e == i * KP + j) | (e == j * KP + i), value, 0.0)
    mask = (e // KP < K) & (e % KP < K) & (p < P)[None, :]
    tl.store(out + ((e // KP) * K + e % KP) * P + p[None, :], gram, mask=mask)
    tl.store(out + (K * K + a) * P + p[None, :], pull, mask=(a < K) & (p < P)[None, :])
