"""Compiled loops of one view: z-buffer, perspective-correct barycentrics, interpolation.

Laws. With corners relative to the pixel centre, w0 = cross(p1, p2) and cyclic; b_i is proportional
to w_i / z_i; 1 / z is linear on the screen. Coverage evaluates every edge from its lower vertex
index, so two triangles that share an edge get exactly opposite values: no cracks. Pixels exactly
on an edge go to the nearer triangle, then to the lower index.
"""

from __future__ import annotations

import numpy as np

from hrnfit.geometry.compiled import kernel


@kernel
def _edge(points, a, b, inward):
    """Base point, direction and sign of the edge function that is >= 0 inside."""
    if a > b:
        a, b, inward = b, a, -inward
    x, y = np.float64(points[a, 0]), np.float64(points[a, 1])
    return x, y, points[b, 0] - x, points[b, 1] - y, -inward


@kernel
def z_buffer(points, faces, row0, row1, triangle, inverse_depth):
    """Fill rows row0..row1 of `triangle` (-1 first) and `inverse_depth` (0 first)."""
    width = triangle.shape[1]
    triangle[row0:row1] = -1
    inverse_depth[row0:row1] = 0
    stored = np.empty(1, inverse_depth.dtype)  # compares what is stored, so ties are exact
    for f in range(faces.shape[0]):
        i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
        y0, y1, y2 = points[i0, 1], points[i1, 1], points[i2, 1]
        # Rows and columns whose centres lie in the bounding box: most small triangles have none.
        top = np.ceil(min(y0, y1, y2) - 0.5)
        bottom = np.floor(max(y0, y1, y2) - 0.5)
        if not (top <= bottom and bottom >= row0 and top < row1):  # also leaves out nan
            continue
        x0, x1, x2 = np.float64(points[i0, 0]), points[i1, 0], points[i2, 0]
        left = np.ceil(min(x0, x1, x2) - 0.5)
        right = np.floor(max(x0, x1, x2) - 0.5)
        if not (left <= right and right >= 0 and left < width):
            continue
        z0, z1, z2 = points[i0, 2], points[i1, 2], points[i2, 2]
        area = (x1 - x0) * (np.float64(y2) - y0) - (x2 - x0) * (np.float64(y1) - y0)
        if not (
            area != 0 and abs(area) < np.inf and min(z0, z1, z2) > 0 and max(z0, z1, z2) < np.inf
        ):
            continue
        inward = 1.0 if area > 0 else -1.0
        ax, ay, adx, ady, sa = _edge(points, i1, i2, inward)
        bx, by, bdx, bdy, sb = _edge(points, i2, i0, inward)
        cx, cy, cdx, cdy, sc = _edge(points, i0, i1, inward)
        # The three edge functions sum to the area: 1 / z needs no division per pixel.
        scale = 1.0 / abs(area)
        k0, k1, k2 = scale / z0, scale / z1, scale / z2
        # clamped as floats: a finite corner may lie beyond any integer
        top, bottom = max(top, float(row0)), min(bottom, row1 - 1.0)
        left, right = max(left, 0.0), min(right, width - 1.0)
        for row in range(int(top), int(bottom) + 1):
            y = row + 0.5
            ea, eb, ec = (y - ay) * adx, (y - by) * bdx, (y - cy) * cdx
            for column in range(int(left), int(right) + 1):
                x = column + 0.5
                w0 = sa * ((x - ax) * ady - ea)
                w1 = sb * ((x - bx) * bdy - eb)
                w2 = sc * ((x - cx) * cdy - ec)
                if w0 >= 0 and w1 >= 0 and w2 >= 0:
                    stored[0] = w0 * k0 + w1 * k1 + w2 * k2
                    if stored[0] > inverse_depth[row, column]:
                        inverse_depth[row, column] = stored[0]
                        triangle[row, column] = f


@kernel
def barycentrics(points, faces, row0, row1, triangle, barycentric, depth):
    """Weights at the pixels; `depth` holds 1 / z and becomes z, +inf where nothing is hit."""
    for row in range(row0, row1):
        for column in range(triangle.shape[1]):
            f = triangle[row, column]
            if f < 0:
                depth[row, column] = np.inf
                continue
            depth[row, column] = 1.0 / depth[row, column]
            i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
            x, y = column + 0.5, row + 0.5
            x0, y0 = points[i0, 0] - x, points[i0, 1] - y
            x1, y1 = points[i1, 0] - x, points[i1, 1] - y
            x2, y2 = points[i2, 0] - x, points[i2, 1] - y
            q0 = (x1 * y2 - x2 * y1) / points[i0, 2]
            q1 = (x2 * y0 - x0 * y2) / points[i1, 2]
            q2 = (x0 * y1 - x1 * y0) / points[i2, 2]
            total = q0 + q1 + q2
            barycentric[row, column, 0] = q0 / total
            barycentric[row, column, 1] = q1 / total
            barycentric[row, column, 2] = q2 / total


@kernel
def barycentrics_backward(points, faces, row0, row1, triangle, grad, out):
    """Add d loss / d points of the rows to `out` (N, 3), given d loss / d barycentric."""
    for row in range(row0, row1):
        for column in range(triangle.shape[1]):
            f = triangle[row, column]
            if f < 0:
                continue
            g0, g1, g2 = grad[row, column, 0], grad[row, column, 1], grad[row, column, 2]
            if g0 == 0 and g1 == 0 and g2 == 0:
                continue
            i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
            x, y = column + 0.5, row + 0.5
            x0, y0, k0 = points[i0, 0] - x, points[i0, 1] - y, 1.0 / points[i0, 2]
            x1, y1, k1 = points[i1, 0] - x, points[i1, 1] - y, 1.0 / points[i1, 2]
            x2, y2, k2 = points[i2, 0] - x, points[i2, 1] - y, 1.0 / points[i2, 2]
            w0, w1, w2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
            total = w0 * k0 + w1 * k1 + w2 * k2
            mean = (g0 * w0 * k0 + g1 * w1 * k1 + g2 * w2 * k2) / total
            # h: gradient with respect to w / z; a: to w; the depth part is -h w / z^2.
            h0, h1, h2 = (g0 - mean) / total, (g1 - mean) / total, (g2 - mean) / total
            a0, a1, a2 = h0 * k0, h1 * k1, h2 * k2
            out[i0, 0] += a2 * y1 - a1 * y2
            out[i0, 1] += a1 * x2 - a2 * x1
            out[i0, 2] -= a0 * w0 * k0
            out[i1, 0] += a0 * y2 - a2 * y0
            out[i1, 1] += a2 * x0 - a0 * x2
            out[i1, 2] -= a1 * w1 * k1
            out[i2, 0] += a1 * y0 - a0 * y1
            out[i2, 1] += a0 * x1 - a1 * x0
            out[i2, 2] -= a2 * w2 * k2


@kernel
def interpolate(attributes, faces, row0, row1, triangle, barycentric, out):
    """Weighted corner attributes at the covered pixels; others are left alone."""
    for row in range(row0, row1):
        for column in range(triangle.shape[1]):
            f = triangle[row, column]
            if f < 0:
                continue
            i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
            b0 = barycentric[row, column, 0]
            b1 = barycentric[row, column, 1]
            b2 = barycentric[row, column, 2]
            for c in range(attributes.shape[1]):
                out[row, column, c] = (
                    b0 * attributes[i0, c] + b1 * attributes[i1, c] + b2 * attributes[i2, c]
                )


@kernel
def interpolate_backward_attributes(grad, faces, row0, row1, triangle, barycentric, out):
    """Add d loss / d attributes of the rows to `out` (N, C)."""
    for row in range(row0, row1):
        for column in range(triangle.shape[1]):
            f = triangle[row, column]
            if f < 0:
                continue
            i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
            b0 = barycentric[row, column, 0]
            b1 = barycentric[row, column, 1]
            b2 = barycentric[row, column, 2]
            for c in range(out.shape[1]):
                g = grad[row, column, c]
                out[i0, c] += b0 * g
                out[i1, c] += b1 * g
                out[i2, c] += b2 * g


@kernel
def interpolate_backward_barycentric(grad, attributes, faces, row0, row1, triangle, out):
    """Write d loss / d barycentric of the covered pixels to `out` (H, W, 3)."""
    for row in range(row0, row1):
        for column in range(triangle.shape[1]):
            f = triangle[row, column]
            if f < 0:
                continue
            for k in range(3):
                corner = faces[f, k]
                s = attributes[corner, 0] * grad[row, column, 0]
                for c in range(1, attributes.shape[1]):
                    s += attributes[corner, c] * grad[row, column, c]
                out[row, column, k] = s
