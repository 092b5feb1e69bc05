"""Triton: the occluding contour of a mesh, the energy of its distance to a mask's edge with its gradient, and the
band of pixels around it.

The laws are those of `energy/occluding.py`, `energy/contour.py` and `energy/silhouette.py`. An outline is four
numbers per view and vertex: on the contour or not, outward unit normal in the image, and on the outer contour or not.
Marks of pixels are bits: 32 columns of a row to a word of int32, the lowest bit first.
"""

# pyright: basic, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import triton.language as tl

from hrnfit.energy.robust_kernels import rho
from hrnfit.geometry.launched import kernel


@kernel
def _xy(points, n, inside):
    x = tl.load(points + 3 * n, mask=inside, other=0.0)
    return x, tl.load(points + 3 * n + 1, mask=inside, other=0.0)


@kernel
def pixel_widths(points, K, log_focal, out, vertices, BLOCK: tl.constexpr):
    """Mean depth of a view over its focal length, which `log_focal` corrects."""
    view = tl.program_id(0).to(tl.int64)
    depth = tl.zeros([BLOCK], points.dtype.element_ty)
    first = 0
    while first < vertices:
        n = first + tl.arange(0, BLOCK)
        depth += tl.load(points + (view * vertices + n) * 3 + 2, mask=n < vertices, other=0.0)
        first += BLOCK
    focal = tl.load(K + view * 9) * tl.exp(tl.load(log_focal + view))
    tl.store(out + view, tl.sum(depth, 0) / vertices / focal)


@kernel
def _front(points, faces, f, inside):
    """Whether a triangle is seen from outside: its signed area on the y-down image is negative."""
    x0, y0 = _xy(points, tl.load(faces + 3 * f, mask=inside, other=0), inside)
    x1, y1 = _xy(points, tl.load(faces + 3 * f + 1, mask=inside, other=0), inside)
    x2, y2 = _xy(points, tl.load(faces + 3 * f + 2, mask=inside, other=0), inside)
    return (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0) < 0


@kernel
def turning_edges(points, faces, ends, sides, opposite, sums, vertices, edges, BLOCK: tl.constexpr):
    """Add 1 and the outward normal to both ends of every edge between a front and a back, in sums (V, N, 4)."""
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = e < edges
    view = tl.program_id(1).to(tl.int64)
    points, sums = points + view * vertices * 3, sums + view * vertices * 4
    first = _front(points, faces, tl.load(sides + 2 * e, mask=inside, other=0), inside)
    second = _front(points, faces, tl.load(sides + 2 * e + 1, mask=inside, other=0), inside)
    turns = inside & (first != second)
    i = tl.load(ends + 2 * e, mask=turns, other=0)
    j = tl.load(ends + 2 * e + 1, mask=turns, other=0)
    k = tl.load(opposite + 2 * e + tl.where(first, 0, 1), mask=turns, other=0)
    x, y = _xy(points, i, turns)
    xj, yj = _xy(points, j, turns)
    xk, yk = _xy(points, k, turns)
    nx, ny = y - yj, xj - x
    side = nx * (xk - x) + ny * (yk - y)
    sign = tl.where(side > 0, -1.0, tl.where(side < 0, 1.0, 0.0))
    nx, ny = sign * nx, sign * ny
    tl.atomic_add(sums + 4 * i, 0.0 * nx + 1.0, mask=turns, sem="relaxed")
    tl.atomic_add(sums + 4 * i + 1, nx, mask=turns, sem="relaxed")
    tl.atomic_add(sums + 4 * i + 2, ny, mask=turns, sem="relaxed")
    tl.atomic_add(sums + 4 * j, 0.0 * nx + 1.0, mask=turns, sem="relaxed")
    tl.atomic_add(sums + 4 * j + 1, nx, mask=turns, sem="relaxed")
    tl.atomic_add(sums + 4 * j + 2, ny, mask=turns, sem="relaxed")


@kernel
def _pixel(x, y, size):
    """Row and column of the pixel at a point, clamped into the window, and whether it lies in it."""
    column, row = tl.floor(x), tl.floor(y)
    there = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    row, column = tl.where(there, row, 0.0).to(tl.int32), tl.where(there, column, 0.0).to(tl.int32)
    return row, column, there


@kernel
def finish_outline(
    points, triangle, outline, open_ends, planes, vertices, size, step, BLOCK: tl.constexpr
):
    """Normals to unit length, and whether the pixel `step` outward shows no mesh; outer contour points and open
    ends of the mesh are marked in two planes (2, V, S, words)."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < vertices
    view = tl.program_id(1).to(tl.int64)
    out = outline + (view * vertices + n) * 4
    x, y = _xy(points + view * vertices * 3, n, inside)
    on = tl.load(out, mask=inside, other=0.0) > 0
    ox = tl.load(out + 1, mask=inside, other=0.0)
    oy = tl.load(out + 2, mask=inside, other=0.0)
    length = tl.sqrt(ox * ox + oy * oy)
    length = tl.where(length > 0, length, 1.0)
    ox, oy = ox / length, oy / length
    row, column, there = _pixel(x + step * ox, y + step * oy, size)
    shown = triangle + view * size * size + row * size + column
    outer = inside & on & there & (tl.load(shown, mask=inside, other=0) < 0)
    tl.store(out + 1, ox, mask=inside)
    tl.store(out + 2, oy, mask=inside)
    tl.store(out + 3, tl.where(outer, 1.0, 0.0), mask=inside)
    row, column, there = _pixel(x, y, size)
    words = (size + 31) // 32
    plane, bit = planes + (view * size + row) * words + column // 32, 1 << (column % 32)
    tl.atomic_or(plane, bit, mask=outer & there, sem="relaxed")
    ends = tl.load(open_ends + n, mask=inside, other=0) > 0
    plane += tl.num_programs(1).to(tl.int64) * size * words
    tl.atomic_or(plane, bit, mask=ends & there, sem="relaxed")


@kernel
def contour(
    points, outline, edge, normal, valid, mm, grad, parts, counts, vertices, size,
    wrong, reach, agreement, pull_in, KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Distance of a vertex to the nearest mask edge; see `NearestContour`."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < vertices
    view = tl.program_id(1).to(tl.int64)
    x, y = _xy(points + view * vertices * 3, n, inside)
    row, column, known = _pixel(x, y, size)
    own = view * size * size + row * size + column
    nx = tl.load(normal + 2 * own, mask=inside, other=0.0)
    ny = tl.load(normal + 2 * own + 1, mask=inside, other=0.0)
    distance = (x - tl.load(edge + 2 * own, mask=inside, other=0.0)) * nx
    distance += (y - tl.load(edge + 2 * own + 1, mask=inside, other=0.0)) * ny
    scale = tl.load(mm + view) / wrong
    r = distance * scale
    known = inside & known & (tl.load(valid + own, mask=inside, other=0) != 0)
    near = known & (tl.abs(r) * wrong < reach)
    place = outline + (view * vertices + n) * 4
    on = tl.load(place, mask=inside, other=0.0) > 0
    agrees = nx * tl.load(place + 1, mask=inside, other=0.0)
    agrees += ny * tl.load(place + 2, mask=inside, other=0.0)
    outer = tl.load(place + 3, mask=inside, other=0.0) > 0
    weight = tl.where(near & outer & (agrees > agreement), 1.0, 0.0)
    weight += tl.where(near & (distance > 0) & (on == 0), pull_in, 0.0)
    value, slope = rho(r, KIND)
    part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + part, tl.sum(tl.where(weight > 0, weight * value, 0.0), 0))
    tl.store(counts + part, tl.sum(weight, 0))
    s = tl.where(weight > 0, weight * slope * scale, 0.0)
    to = grad + (view * vertices + n) * 3
    tl.store(to, s * nx, mask=inside)
    tl.store(to + 1, s * ny, mask=inside)
    tl.store(to + 2, 0.0 * s, mask=inside)


@kernel
def widen_columns(planes, tall, size, words, count, radius, BLOCK: tl.constexpr):
    """Marks of both planes within `radius` rows, of which eight are under way at once."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = (at // words) % size
    last = tl.minimum(row + radius, size - 1)
    found = 0 * at
    first = -radius
    while first <= radius:
        for k in tl.static_range(8):
            step = first + k
            there = (at < count) & (row + step >= 0) & (row + step <= last)
            found |= tl.load(planes + at + step * words, mask=there, other=0)
        first += 8
    tl.store(tall + at, found, mask=at < count)


@kernel
def _word(words_of, at, word, words, inside):
    """A word of a row, zero beyond its ends; unsigned, so that shifts bring no sign."""
    there = inside & (word >= 0) & (word < words)
    return tl.load(words_of + at, mask=there, other=0).to(tl.uint32, bitcast=True)


@kernel
def _widened(tall, at, word, words, inside, radius):
    """Marks within `radius` columns."""
    left = _word(tall, at, word, words, inside)
    right, found, far = left, left, 0
    while 32 * far <= radius:
        before = _word(tall, at - far - 1, word - far - 1, words, inside)
        behind = _word(tall, at + far + 1, word + far + 1, words, inside)
        for shift in tl.static_range(32):
            marks = (left << shift) | (right >> shift)
            if shift > 0:
                marks |= (before >> (32 - shift)) | (behind << (32 - shift))
            found = tl.where(32 * far + shift <= radius, found | marks, found)
        left, right = before, behind
        far += 1
    return found


@kernel
def band_of(tall, band, words, count, radius, BLOCK: tl.constexpr):
    """Marks of pixels near the outer contour and not near an open end: see `Silhouette`. count: words of a plane."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, word = at < count, at % words
    outer = _widened(tall, at, word, words, inside, radius)
    ends = _widened(tall + count, at, word, words, inside, radius)
    # not `outer & ~ends`: Triton 3.6 cannot interpret that of unsigned numbers
    tl.store(band + at, (outer & (outer ^ ends)).to(tl.int32, bitcast=True), mask=inside)
