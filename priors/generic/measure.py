"""Callipers and tape: the distances and arcs of `anthropometry`, measured on heads of the mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from .anthropometry import ARCS, DISTANCES, OFFSETS, POINTS, RADII
from .mesh import Mesh

SIDE = ("zy", "go", "t", "gn", "c", "eu")
"""Points found by their position in space; the others by their frontal x, y."""


@dataclass(frozen=True)
class Ruler:
    """Where to measure: vertex indices for lengths, edge points for arcs."""

    ends: np.ndarray
    """(D, 2, 2) vertices at both ends, left and right."""
    offsets: np.ndarray
    """(K, 2, 2) vertices: origin and point, left and right."""
    axes: np.ndarray
    """(K,) coordinate of each offset."""
    radii: np.ndarray
    """(R, 3, 2) vertices: tragion, nasion and point, left and right."""
    paths: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    """Per arc: edge ends i, j (K,) and the fraction (K,) from i to j."""

    def vertices(self) -> np.ndarray:
        """Indices of every vertex that is measured."""
        return np.unique(
            np.concatenate(
                [self.ends.ravel(), self.offsets.ravel(), self.radii.ravel()]
                + [p[k] for p in self.paths for k in (0, 1)]
            )
        )

    def reindexed(self, used: np.ndarray) -> Ruler:
        """The same ruler on the vertices `used` only."""
        place = np.full(used.max() + 1, -1)
        place[used] = np.arange(len(used))
        paths = tuple((place[i], place[j], t) for i, j, t in self.paths)
        return Ruler(place[self.ends], place[self.offsets], self.axes, place[self.radii], paths)

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """Lengths (..., D + K + R + arcs) of heads (..., N, 3); left and right averaged."""
        difference = vertices[..., self.ends[..., 0], :] - vertices[..., self.ends[..., 1], :]
        lengths = [np.linalg.norm(difference, axis=-1).mean(axis=-1)]
        shift = vertices[..., self.offsets[:, 1], :] - vertices[..., self.offsets[:, 0], :]
        lengths.append(shift.mean(axis=-2)[..., np.arange(len(self.axes)), self.axes])
        tragion, nasion, point = (vertices[..., self.radii[:, k], 1:] for k in range(3))
        far, near = (np.linalg.norm(p - tragion, axis=-1) for p in (point, nasion))
        lengths.append((far - near).mean(axis=-1))
        for i, j, t in self.paths:
            points = vertices[..., i, :] * (1 - t)[:, None] + vertices[..., j, :] * t[:, None]
            steps = np.linalg.norm(np.diff(points, axis=-2), axis=-1)
            lengths.append(steps.sum(axis=-1, keepdims=True))
        return np.concatenate(lengths, axis=-1)


def landmark_vertices(mesh: Mesh) -> dict[str, int]:
    """Vertex of each anthropometric point (left or midline)."""
    skin = np.flatnonzero((mesh.inner == 0) & (mesh.vertices[:, 0] > -1e-6))
    front = skin[(mesh.vertices[skin, 2] > -65) & (mesh.chart[skin, 1] > -121)]
    space, plane = cKDTree(mesh.vertices[skin]), cKDTree(mesh.vertices[front][:, :2])
    index = {}
    for name, p in POINTS.items():
        found = skin[space.query(p)[1]] if name in SIDE else front[plane.query(p[:2])[1]]
        if p[0] == 0:  # the midline vertex of that height
            axis = skin[np.abs(mesh.chart[skin, 0]) < 1e-9]
            found = axis[np.argmin(np.linalg.norm(mesh.vertices[axis] - p, axis=1))]
        index[name] = int(found)
    return index


def make_ruler(mesh: Mesh) -> Ruler:
    """Callipers and tape laid on the drawn mean."""
    at = landmark_vertices(mesh)
    ends = []
    for d in DISTANCES:
        a, b = at[d.a], at[d.b]
        right = (mesh.mirror[a], mesh.mirror[b])
        ends.append([(a, right[1])] * 2 if d.paired else [(a, b), right])
    offsets = [
        [[v, mesh.mirror[v]] for v in (at[offset.origin], at[offset.point])] for offset in OFFSETS
    ]
    radii = [[[v, mesh.mirror[v]] for v in (at["t"], at["n"], at[r.point])] for r in RADII]
    axes = np.array([offset.axis for offset in OFFSETS])
    paths = tuple(_tape(mesh, at["t"], at[arc.over]) for arc in ARCS)
    return Ruler(np.array(ends), np.array(offsets), axes, np.array(radii), paths)


def _tape(mesh: Mesh, side: int, over: int):
    """Tape from the left `side` point over a midline point to the right: hull of a plane section."""
    v, f = mesh.vertices, mesh.faces
    a, b = v[side], v[over]
    c = a * [-1, 1, 1]
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    edges = np.unique(np.sort(f[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    height = (v - a) @ normal
    h = height[edges]
    cut = edges[(h[:, 0] * h[:, 1] < 0) & (mesh.inner[edges] == 0).all(axis=1)]
    t = height[cut[:, 0]] / (height[cut[:, 0]] - height[cut[:, 1]])
    points = v[cut[:, 0]] * (1 - t)[:, None] + v[cut[:, 1]] * t[:, None]
    across = (c - a) / np.linalg.norm(c - a)
    forward = np.cross(normal, across)
    forward *= np.sign((b - a) @ forward)
    flat = np.stack([(points - a) @ across, (points - a) @ forward], axis=1)
    keep = np.flatnonzero(flat[:, 1] > 0.5)
    hull = keep[ConvexHull(flat[keep]).vertices]
    order = hull[
        np.argsort(np.arctan2(flat[hull, 1] + 30, flat[hull, 0] - np.linalg.norm(c - a) / 2))
    ]
    order = order[flat[order, 1] > 0.5]
    i = np.concatenate([[mesh.mirror[side]], cut[order, 0], [side]])
    j = np.concatenate([[mesh.mirror[side]], cut[order, 1], [side]])
    return i, j, np.concatenate([[0.0], t[order], [0.0]])
