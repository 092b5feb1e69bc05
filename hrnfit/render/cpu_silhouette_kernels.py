"""Compiled loops of one view: find the pixel pairs that a visible silhouette edge separates, blend.

A silhouette edge is a boundary or has both triangles on the same side of it on the screen. For
every crossing of a silhouette edge with the segment between two neighbouring pixel centres, the
nearer pixel's surface is followed from triangle to triangle along that segment; the edge counts
when the walk ends at it. So triangles smaller than a pixel keep their silhouettes, and hidden
edges drop out. An edge acts on horizontal pairs when it is steeper than 45 degrees, else on
vertical ones.
"""

from __future__ import annotations

import numpy as np

from hrnfit.geometry.compiled import kernel

LONGEST_WALK = 32  # triangles per pixel step; only slivers need more than a few


@kernel
def _is_silhouette(e, edge_triangles, agree, positive):
    """Boundary, or a fold: both triangles on one side of the edge."""
    other = edge_triangles[e, 1]
    if other < 0:
        return True
    same = positive[edge_triangles[e, 0]] == positive[other]
    return same != agree[e]


@kernel
def _walk(
    points, edge_vertices, edge_triangles, agree, triangle_edges, positive, f, axis, s, r, ds
):
    """Silhouette edge met from triangle `f` along `axis` within one pixel of (s, r), or -1."""
    entry = -1
    for _ in range(LONGEST_WALK):
        leave, reach = -1, -np.inf
        for k in range(3):
            e = triangle_edges[f, k]
            a, b = edge_vertices[e, 0], edge_vertices[e, 1]
            ra, rb = np.float64(points[a, 1 - axis]), np.float64(points[b, 1 - axis])
            if e == entry or (ra > r) == (rb > r):
                continue
            sa, sb = np.float64(points[a, axis]), np.float64(points[b, axis])
            along = ds * (sa + (r - ra) / (rb - ra) * (sb - sa) - s)
            if along > reach:
                leave, reach = e, along
        if leave < 0 or reach > 1:
            return -1
        if _is_silhouette(leave, edge_triangles, agree, positive):
            return leave
        f = edge_triangles[leave, 0] + edge_triangles[leave, 1] - f
        entry = leave
    return -1


@kernel
def find(points, faces, edge_vertices, edge_triangles, agree, triangle_edges, triangle, depth):
    """Rows of (pixel on the surface, pixel beyond, edge ends a and b, axis), flat pixel indices."""
    height, width = triangle.shape
    positive = np.empty(faces.shape[0], np.bool_)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y = np.float64(points[i, 0]), np.float64(points[i, 1])
        positive[f] = (points[j, 0] - x) * (points[k, 1] - y) > (points[k, 0] - x) * (
            points[j, 1] - y
        )
    found = np.empty((1024, 5), np.int32)
    count = 0
    for e in range(edge_vertices.shape[0]):
        if not _is_silhouette(e, edge_triangles, agree, positive):
            continue
        a, b = edge_vertices[e, 0], edge_vertices[e, 1]
        if not (points[a, 2] > 0 and points[b, 2] > 0):
            continue
        dx, dy = abs(points[b, 0] - points[a, 0]), abs(points[b, 1] - points[a, 1])
        if not np.isfinite(dx + dy):
            continue
        axis = 0 if dy >= dx else 1
        columns, rows = (width, height) if axis == 0 else (height, width)
        ra, rb = np.float64(points[a, 1 - axis]), np.float64(points[b, 1 - axis])
        sa, sb = np.float64(points[a, axis]), np.float64(points[b, axis])
        first = max(np.ceil(min(ra, rb) - 0.5), 0.0)
        last = min(np.floor(max(ra, rb) - 0.5), rows - 1.0)
        row = first
        while row <= last:
            r = row + 0.5
            row += 1
            if (ra > r) == (rb > r):
                continue
            at = np.floor(sa + (r - ra) / (rb - ra) * (sb - sa) - 0.5)
            if not (at >= 0 and at < columns - 1):
                continue
            if axis == 0:
                p = int(r) * width + int(at)
                q = p + 1
            else:
                p = int(at) * width + int(r)
                q = p + width
            tp, tq = triangle[p // width, p % width], triangle[q // width, q % width]
            if tp == tq:
                continue
            ds, s, f = 1.0, at + 0.5, tp
            if tp < 0 or (tq >= 0 and depth[q // width, q % width] < depth[p // width, p % width]):
                p, q = q, p
                ds, s, f = -1.0, at + 1.5, tq
            met = _walk(
                points, edge_vertices, edge_triangles, agree, triangle_edges, positive,
                f, axis, s, r, ds,
            )  # fmt: skip
            if met != e:
                continue
            if count == found.shape[0]:
                larger = np.empty((2 * count, 5), np.int32)
                larger[:count] = found
                found = larger
            found[count, 0], found[count, 1], found[count, 4] = p, q, axis
            found[count, 2], found[count, 3] = a, b
            count += 1
    return found[:count]


@kernel
def _blend_weight(points, item, width):
    """Signed weight in -0.5..0.5 of the pixel beyond in the pixel on the surface, and the crossing.

    0.5 - (distance of the edge from the centre of the pixel on the surface): positive, the surface
    ends inside its own pixel; negative, it covers a part of the pixel beyond.
    """
    p, a, b, axis = item[0], item[2], item[3], item[4]
    step = 1.0 if item[1] > p else -1.0
    r = (p // width if axis == 0 else p % width) + 0.5
    s = (p % width if axis == 0 else p // width) + 0.5
    ra, rb = np.float64(points[a, 1 - axis]), np.float64(points[b, 1 - axis])
    sa, sb = np.float64(points[a, axis]), np.float64(points[b, axis])
    t = (r - ra) / (rb - ra)
    slope = (sb - sa) / (rb - ra)
    distance = step * (sa + t * (sb - sa) - s)
    return 0.5 - min(max(distance, 0.0), 1.0), t, slope, step


@kernel
def blend(points, image, items, width, out):
    """Add the blends to `out` (H * W, C), which starts as a copy of `image`."""
    for n in range(items.shape[0]):
        weight, _, _, _ = _blend_weight(points, items[n], width)
        p, q = items[n, 0], items[n, 1]
        target = p if weight > 0 else q
        for c in range(image.shape[1]):
            out[target, c] += weight * (image[q, c] - image[p, c])


@kernel
def blend_backward(points, image, items, width, grad, image_out, points_out):
    """Add d loss / d image to `image_out` (a copy of `grad`) and d loss / d points to the other."""
    for n in range(items.shape[0]):
        weight, t, slope, step = _blend_weight(points, items[n], width)
        p, q, a, b, axis = items[n]
        target = p if weight > 0 else q
        rate = 0.0
        for c in range(image.shape[1]):
            g = grad[target, c]
            rate += g * (image[q, c] - image[p, c])
            image_out[q, c] += weight * g
            image_out[p, c] -= weight * g
        if abs(weight) >= 0.5:
            continue
        rate *= -step  # d weight / d crossing
        points_out[a, axis] += rate * (1 - t)
        points_out[b, axis] += rate * t
        points_out[a, 1 - axis] -= rate * (1 - t) * slope
        points_out[b, 1 - axis] -= rate * t * slope
