"""Compiled loops over the triangles of one mesh: area-weighted vertex normals and their gradient."""

# pyright: basic
# Types of compiled loops are inferred by numba, not written.
from __future__ import annotations

import numpy as np

from hrnfit.geometry.compiled import kernel


@kernel
def normal_sums(vertices, faces, out):
    """Add every triangle's cross product, twice its area long, to its corners in `out` (N, 3)."""
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax = vertices[j, 0] - vertices[i, 0]
        ay = vertices[j, 1] - vertices[i, 1]
        az = vertices[j, 2] - vertices[i, 2]
        bx = vertices[k, 0] - vertices[i, 0]
        by = vertices[k, 1] - vertices[i, 1]
        bz = vertices[k, 2] - vertices[i, 2]
        x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for corner in (i, j, k):
            out[corner, 0] += x
            out[corner, 1] += y
            out[corner, 2] += z


@kernel
def unit(vectors, out):
    """Write unit vectors to `out`; zero stays zero."""
    for n in range(vectors.shape[0]):
        x, y, z = vectors[n, 0], vectors[n, 1], vectors[n, 2]
        square = np.float64(x) * x + np.float64(y) * y + np.float64(z) * z
        scale = 1.0 / np.sqrt(square) if square > 0 else 0.0
        out[n, 0], out[n, 1], out[n, 2] = x * scale, y * scale, z * scale


@kernel
def unit_backward(vectors, grad, out):
    """Write d loss / d vectors to `out`: (g - u (u.g)) / length, zero at zero."""
    for n in range(vectors.shape[0]):
        x, y, z = vectors[n, 0], vectors[n, 1], vectors[n, 2]
        square = np.float64(x) * x + np.float64(y) * y + np.float64(z) * z
        inverse = 1.0 / np.sqrt(square) if square > 0 else 0.0
        x, y, z = x * inverse, y * inverse, z * inverse
        along = x * grad[n, 0] + y * grad[n, 1] + z * grad[n, 2]
        out[n, 0] = (grad[n, 0] - along * x) * inverse
        out[n, 1] = (grad[n, 1] - along * y) * inverse
        out[n, 2] = (grad[n, 2] - along * z) * inverse


@kernel
def normal_sums_backward(vertices, faces, grad, out):
    """Add d loss / d vertices to `out`, given d loss / d sums: e1 gets e2 x g, e2 gets g x e1."""
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax = vertices[j, 0] - vertices[i, 0]
        ay = vertices[j, 1] - vertices[i, 1]
        az = vertices[j, 2] - vertices[i, 2]
        bx = vertices[k, 0] - vertices[i, 0]
        by = vertices[k, 1] - vertices[i, 1]
        bz = vertices[k, 2] - vertices[i, 2]
        x = grad[i, 0] + grad[j, 0] + grad[k, 0]
        y = grad[i, 1] + grad[j, 1] + grad[k, 1]
        z = grad[i, 2] + grad[j, 2] + grad[k, 2]
        px, py, pz = by * z - bz * y, bz * x - bx * z, bx * y - by * x
        qx, qy, qz = y * az - z * ay, z * ax - x * az, x * ay - y * ax
        out[j, 0] += px
        out[j, 1] += py
        out[j, 2] += pz
        out[k, 0] += qx
        out[k, 1] += qy
        out[k, 2] += qz
        out[i, 0] -= px + qx
        out[i, 1] -= py + qy
        out[i, 2] -= pz + qz
