"""One texture chart without seams or flipped triangles.

Mean value coordinates (Floater 2003) inside a fixed convex outline cannot fold; reweighting by the
local stretch (Yoshizawa, Belyaev and Seidel 2004) then evens the area without losing that.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from .mesh import Mesh, resample


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Boundary loops of a triangle mesh, longest first; vertex indices in the order of faces."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    present = {(int(i), int(j)) for i, j in edges}
    following = {i: j for i, j in present if (j, i) not in present}
    loops = []
    while following:
        start, here = min(following), None
        loop, here = [start], following.pop(start)
        while here != start:
            loop.append(here)
            here = following.pop(here)
        loops.append(np.array(loop))
    return sorted(loops, key=len, reverse=True)


def mean_value_weights(vertices: np.ndarray, faces: np.ndarray) -> coo_matrix:
    """Sparse (N, N) positive weights w_ij = (tan(a/2) + tan(b/2)) / |ij|."""
    n = len(vertices)
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, m = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        u, v = vertices[j] - vertices[i], vertices[m] - vertices[i]
        lu, lv = np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)
        cosine = np.clip((u * v).sum(axis=1) / (lu * lv), -1, 1)
        half = np.sqrt((1 - cosine) / np.maximum(1 + cosine, 1e-4))
        rows += [i, i]
        columns += [j, m]
        values += [half / lu, half / lv]
    flat = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_matrix(flat, shape=(n, n))


def _stretch(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Root mean square stretch (N,) of the triangles about each vertex, uv to surface."""
    p, q, r = (uv[faces[:, k]] for k in range(3))
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (r[:, 0] - p[:, 0]) * (q[:, 1] - p[:, 1])
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)[:, None]
    s = (a * (q - r)[:, 1:] + b * (r - p)[:, 1:] + c * (p - q)[:, 1:]) / area
    t = (a * (r - q)[:, :1] + b * (p - r)[:, :1] + c * (q - p)[:, :1]) / area
    square = 0.5 * ((s**2).sum(axis=1) + (t**2).sum(axis=1))
    weight = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    total, mass = np.zeros(len(vertices)), np.zeros(len(vertices))
    for k in range(3):
        np.add.at(total, faces[:, k], square * weight)
        np.add.at(mass, faces[:, k], weight)
    return np.sqrt(total / np.maximum(mass, 1e-12))


def _outline(vertices: np.ndarray, loop: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Texture positions (K, 2) of the outer loop on a rounded square, mirror-symmetric."""
    top = loop[np.argmax(np.where(mirror[loop] == loop, vertices[loop, 1], -np.inf))]
    order = np.roll(np.arange(len(loop)), -int(np.flatnonzero(loop == top)[0]))
    ring = vertices[loop[order]]
    closed = np.concatenate([ring, ring[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    angle = np.linspace(0, 2 * np.pi, 8001)
    s, c = np.sin(angle), np.cos(angle)
    power = 2 / 3.6
    shape = np.stack([-np.sign(s) * np.abs(s) ** power, -np.sign(c) * np.abs(c) ** power], axis=1)
    shape = resample(0.5 + 0.492 * shape, 8001)
    t = length[:-1] / length[-1] * 8000
    place = np.stack([np.interp(t, np.arange(8001), shape[:, k]) for k in range(2)], axis=1)
    out = np.empty_like(place)
    out[order] = place
    return out


def unwrap(mesh: Mesh, rounds: int = 4) -> np.ndarray:
    """Texture coordinates (N, 2), origin top-left, v down; the subject's left is at large u."""
    vertices, faces, n = mesh.vertices, mesh.faces, len(mesh.vertices)
    (rim,) = boundary_loops(faces)  # the mouth is closed at its back: there is no hole
    place = _outline(vertices, rim, mesh.mirror)
    free = np.setdiff1d(np.arange(n), rim)
    weights = mean_value_weights(vertices, faces).tocsr()
    best = None
    for _ in range(rounds):
        laplace = (diags(np.asarray(weights.sum(axis=1)).ravel()) - weights).tocsr()
        uv = np.empty((n, 2))
        uv[rim] = place
        uv[free] = splu(laplace[free][:, free].tocsc()).solve(-laplace[free][:, rim] @ place)
        stretch = _stretch(vertices, faces, uv)
        score = np.sqrt((stretch**2).mean()) * np.sqrt(_uv_area(uv, faces))
        if best is not None and score > best[0]:
            break
        best = (score, uv)
        weights = weights @ diags(1.0 / stretch**0.7)
    uv = best[1]
    u = 0.5 * (uv[:, 0] + 1 - uv[mesh.mirror, 0])
    return np.stack([u, 0.5 * (uv[:, 1] + uv[mesh.mirror, 1])], axis=1)


def _uv_area(uv: np.ndarray, faces: np.ndarray) -> float:
    e, f = uv[faces[:, 1]] - uv[faces[:, 0]], uv[faces[:, 2]] - uv[faces[:, 0]]
    return float(np.abs(e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]).sum() / 2)
