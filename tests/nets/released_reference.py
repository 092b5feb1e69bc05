"""The released code's maps texel by texel, in plain numbers, from the description of what it does.

Slow on purpose, and nothing here is shared with the library. v points up, pictures are lists of rows
of pixels, vertices are tuples in decimetres.
"""

from __future__ import annotations

import math


def raster(values, uv_up, faces, size, outside):
    """Rows of texels with the vertices' values; row 0 at v = 1.

    Coordinates of the rasteriser run from +1 (left) to -1 and from +1 (top) to -1, pixel centres half
    a pixel inside; the chart enters as (1 - 2 u, 2 v - 1).
    """
    flat = [(1.0 - 2.0 * u, 2.0 * v - 1.0) for u, v in uv_up]
    rows = []
    for row in range(size):
        y = 1.0 - (2 * row + 1) / size
        rows.append([])
        for column in range(size):
            x = 1.0 - (2 * column + 1) / size
            rows[-1].append(_texel(x, y, values, flat, faces, outside))
    return rows


def _texel(x, y, values, flat, faces, outside):
    for a, b, c in faces:
        (xa, ya), (xb, yb), (xc, yc) = flat[a], flat[b], flat[c]
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        wa = ((xb - x) * (yc - y) - (xc - x) * (yb - y)) / area
        wb = ((xc - x) * (ya - y) - (xa - x) * (yc - y)) / area
        wc = 1.0 - wa - wb
        if min(wa, wb, wc) > 0.0:
            corners = zip(values[a], values[b], values[c], strict=True)
            return tuple(wa * p + wb * q + wc * r for p, q, r in corners)
    return outside


def texture(picture, posed, uv_up, faces, size):
    """Rows of texels with the picture's channels; `picture`: rows of pixels of channels."""
    height, width = len(picture), len(picture[0])
    camera = [(x, y, 10.0 - z) for x, y, z in posed]
    rows = []
    for line in raster(camera, uv_up, faces, size, (0.0, 0.0, 0.0)):
        rows.append([])
        for x, y, depth in line:
            if depth == 0.0:  # 0 / 0 in the projection, which becomes 0
                u = v = 0.0
            else:
                u = (1015.0 * x / depth + 112.0) * width / 224.0
                v = (1015.0 * y / depth + 112.0) * height / 224.0
            rows[-1].append(exchanged(picture, u, height - 1 - v))
    return rows


def exchanged(picture, column, row):
    """The picture between four pixels, the rows' weights exchanged."""
    left, top = math.floor(column), math.floor(row)
    right_part, down_part = column - left, row - top

    def pixel(r, c):
        return picture[min(max(r, 0), len(picture) - 1)][min(max(c, 0), len(picture[0]) - 1)]

    taps = [
        (pixel(top, left), (1.0 - right_part) * down_part),
        (pixel(top, left + 1), right_part * down_part),
        (pixel(top + 1, left), (1.0 - right_part) * (1.0 - down_part)),
        (pixel(top + 1, left + 1), right_part * (1.0 - down_part)),
    ]
    channels = len(picture[0][0])
    return tuple(sum(value[i] * weight for value, weight in taps) for i in range(channels))


def offset(deformation, u, v_up):
    """Offset of one vertex; `deformation`: rows of texels of three numbers, as many rows as columns."""
    size = len(deformation)
    column, height = u * size, v_up * size
    left, step = math.floor(column), math.floor(height)
    right_part, up_part = column - left, height - step

    def texel(r, c):
        return deformation[min(max(r, 0), size - 1)][min(max(c, 0), size - 1)]

    upper, lower = size - 1 - step, size - step
    return tuple(
        texel(upper, left)[i] * (1.0 - right_part) * up_part
        + texel(lower, left)[i] * (1.0 - right_part) * (1.0 - up_part)
        + texel(upper, left + 1)[i] * right_part * up_part
        + texel(lower, left + 1)[i] * right_part * (1.0 - up_part)
        for i in range(3)
    )


def detail_normals(points, normals, displacement):
    """Detail normals of rows of points and normals; `displacement`: rows of numbers."""
    moved = [
        [
            tuple(p + d * n for p, n in zip(point, normal, strict=True))
            for point, normal, d in zip(*line, strict=True)
        ]
        for line in zip(points, normals, displacement, strict=True)
    ]
    before, after = grid_normals(points), grid_normals(moved)
    result = []
    for row, line in enumerate(normals):
        result.append([])
        for column, normal in enumerate(line):
            n0, n1 = before[row][column], after[row][column]
            turned = [(-a, -b) for a, b in zip(n1[:2], n0[:2], strict=True)] + [(n1[2], n0[2])]
            result[-1].append(
                tuple(s1 + (n - s0) for (s1, s0), n in zip(turned, normal, strict=True))
            )
    return result


def grid_normals(points):
    """Normals of the triangles over the texels, 2 columns and 5 rows at each border left out."""
    height, width = len(points), len(points[0])
    total = [[[0.0, 0.0, 0.0] for _ in range(width)] for _ in range(height)]
    triangles = []
    for column in range(2, width - 1 - 2):
        for row in range(5, height - 1 - 5):
            here, right = (row, column), (row, column + 1)
            below, across = (row + 1, column), (row + 1, column + 1)
            triangles += [(here, below, right), (right, below, across)]
    for corners in triangles:
        normal = _cross(*(points[r][c] for r, c in corners))
        for r, c in corners:
            for i in range(3):
                total[r][c][i] += normal[i]
    return [[_unit(normal, 1e-6) for normal in line] for line in total]


def vertex_normals(vertices, faces):
    """Unit normals; the unit normals of the triangles around a vertex count alike."""
    total = [[0.0, 0.0, 0.0] for _ in vertices]
    for face in faces:
        normal = _unit(_cross(*(vertices[i] for i in face)), 1e-12)
        for i in face:
            for axis in range(3):
                total[i][axis] += normal[axis]
    return [_unit(normal, 1e-12) for normal in total]


def _cross(a, b, c):
    (x1, y1, z1), (x2, y2, z2) = (
        tuple(q - p for p, q in zip(a, other, strict=True)) for other in (b, c)
    )
    return (y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2)


def _unit(vector, smallest):
    length = max(math.sqrt(sum(x * x for x in vector)), smallest)
    return tuple(x / length for x in vector)
