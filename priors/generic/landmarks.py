"""Landmarks of the mean face: the 68 iBUG points by anatomy, the 478 MediaPipe points by table.

The iBUG points are placed where the annotation scheme puts them (lid margins, vermilion borders,
brow line, jaw line) on the surface formulas. The MediaPipe points were found by `detect.py`, which
renders the mean and asks where the detections fit best; their texture coordinates are kept in
`mediapipe478.csv`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from . import cage
from .mesh import Mesh
from .surface import lid_rims, lip_borders, mouth_line

TABLE = Path(__file__).with_name("mediapipe478.csv")
"""Texture coordinates u, v and spread in mm of the 478 points."""

JAW = np.array(
    [
        (70.5, -4, -95), (70, -24, -93), (67.5, -43, -90), (63.5, -61, -86), (56.5, -79, -78),
        (47, -94, -63), (34, -105, -42), (18, -114.5, -22), (0, -117.5, -9.5),
    ],
    dtype=float,
)  # fmt: skip
"""iBUG points 16 down to 8 in the frame of `cage`, mm: the subject's left, ear to chin."""

EAR = (-97.0, -58.0)
"""Depth behind which and height over which the ear lies, frame of `cage`, mm."""

BROW = np.array([(12.5, 14.8), (23, 19.3), (34, 21.3), (44, 19.6), (53, 13.6)])
"""Middle line of the left brow, inner to outer end, frontal x, y in mm."""


def _left_features() -> dict[int, tuple[float, float]]:
    """Frontal positions of the iBUG points on the midline and the subject's left."""
    points: dict[int, tuple[float, float]] = {22 + k: tuple(BROW[k]) for k in range(5)}
    points |= {27: (0, 2), 28: (0, -12), 29: (0, -26), 30: (0, -40.5)}
    points |= {33: (0, -49.8), 34: (7.0, -49.0), 35: (13.0, -47.3)}
    en, ex = cage.ENDOCANTHION, cage.EXOCANTHION
    for index, x, which in ((43, 25.0, 1), (44, 36.0, 1), (46, 36.5, 0), (47, 25.5, 0)):
        points[index] = (x, float(lid_rims(np.array([x]))[which][0]))
    points |= {42: (en[0] + 0.3, en[1]), 45: (ex[0] - 0.3, ex[1])}
    for index, x, which in ((51, 0, 1), (52, 5.5, 1), (53, 15, 1), (55, 15, 0), (56, 7, 0)):
        points[index] = (x, float(lip_borders(np.array([float(x)]))[which][0]))
    points[57] = (0, float(lip_borders(np.zeros(1))[0][0]))
    points[54] = (25.8, float(mouth_line(np.array([25.8]))[0]))
    return points


MIRROR_68 = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        27,
        28,
        29,
        30,
        35,
        34,
        33,
        32,
        31,
        45,
        44,
        43,
        42,
        47,
        46,
        39,
        38,
        37,
        36,
        41,
        40,
        54,
        53,
        52,
        51,
        50,
        49,
        48,
        59,
        58,
        57,
        56,
        55,
        64,
        63,
        62,
        61,
        60,
        67,
        66,
        65,
    ]
)
"""iBUG index of the mirror image of each point."""


def frontal_hits(vertices: np.ndarray, faces: np.ndarray, xy: np.ndarray):
    """Triangle (K,) and barycentrics (K, 3) of the foremost surface at frontal points (K, 2)."""
    corners = vertices[faces]
    low, high = corners[..., :2].min(axis=1), corners[..., :2].max(axis=1)
    triangles, weights = np.full(len(xy), -1), np.zeros((len(xy), 3))
    for k, p in enumerate(xy):
        near = np.flatnonzero(((low <= p) & (high >= p)).all(axis=1))
        w = planar_barycentric(corners[near][..., :2], p)
        depth = np.where((w > -1e-6).all(axis=1), (w * corners[near][..., 2]).sum(axis=1), -np.inf)
        best = int(np.argmax(depth.round(4)))  # on a shared edge: the first, on every machine
        triangles[k], weights[k] = near[best], w[best]
    return triangles, weights


def planar_barycentric(corners: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Barycentrics (K, 3) of a point (2,) or points (K, 2) in triangles (K, 3, 2)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v, w = b - a, c - a, point - a
    det = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    det = np.where(np.abs(det) < 1e-12, 1e-12, det)
    s = (w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0]) / det
    t = (u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]) / det
    return np.stack([1 - s - t, s, t], axis=1)


def ibug68(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (68,) and barycentrics (68, 3) of the iBUG points on the mean."""
    vertices, faces = mesh.vertices, mesh.faces
    corner = np.full(68, -1)
    corner[8:17] = cKDTree(vertices).query(JAW[::-1])[1]
    rim = np.flatnonzero(np.abs(mesh.inner) == 1)
    for index, x, sign in ((62, 0, 1), (63, 9, 1), (64, 22.5, 1), (65, 9, -1), (66, 0, -1)):
        own = rim[np.sign(mesh.inner[rim]) == sign]
        twin = own[np.argmin(np.abs(mesh.chart[own, 0] - cage.chart_from_point(x, 0.0)))]
        corner[index] = _rim_of(mesh, twin)
    triangles, weights = np.full(68, -1), np.zeros((68, 3))
    hits = _left_features()
    triangles[list(hits)], weights[list(hits)] = frontal_hits(
        vertices, faces, np.array(list(hits.values()))
    )
    for index in np.flatnonzero(corner >= 0):
        triangle = int(np.flatnonzero((faces == corner[index]).any(axis=1))[0])
        triangles[index] = triangle
        weights[index] = faces[triangle] == corner[index]
    return _complete(mesh, triangles, weights)


def _rim_of(mesh: Mesh, rolled: int) -> int:
    """The rim vertex from which an inner-lip vertex was rolled in."""
    same = (mesh.inner == 0) & (mesh.side == mesh.side[rolled])
    rim = np.flatnonzero(same)
    return int(rim[np.argmin(np.abs(mesh.chart[rim] - mesh.chart[rolled]).sum(axis=1))])


def _complete(mesh: Mesh, triangles: np.ndarray, weights: np.ndarray):
    """Fill the subject's right from the left by the mesh's own mirror."""
    lookup = {tuple(sorted(f)): i for i, f in enumerate(mesh.faces.tolist())}
    for index in np.flatnonzero(triangles < 0):
        twin = MIRROR_68[index]
        target = mesh.mirror[mesh.faces[triangles[twin]]]
        triangle = lookup[tuple(sorted(target.tolist()))]
        order = [int(np.flatnonzero(target == v)[0]) for v in mesh.faces[triangle]]
        triangles[index], weights[index] = triangle, weights[twin][order]
    return triangles, weights


def jaw_contour(mesh: Mesh, candidates: int = 24) -> np.ndarray:
    """Vertices (17, K) to which each iBUG jaw point may slide as the head turns.

    Each row runs across the jaw at the height of its point, from the cheek to behind the jaw; no row
    enters the ear, whose rim would be the outline instead.
    """
    ear = (mesh.vertices[:, 2] < EAR[0]) & (mesh.vertices[:, 1] > EAR[1])
    outer = np.flatnonzero((mesh.inner == 0) & ~ear)
    tree = cKDTree(mesh.chart[outer])
    rows = []
    for point in JAW:
        a = cage.chart_from_point(point[0], point[2])
        here = mesh.chart[outer[cKDTree(mesh.vertices[outer]).query(point)[1]]]
        down = np.array([0.0, -1.0]) if point[0] < 30 else np.array([1.0, -0.55 if a < 95 else 0])
        path = here + np.linspace(-26, 22, candidates)[:, None] * down / np.linalg.norm(down)
        rows.append(outer[tree.query(path)[1]])
    left = np.array(rows)
    left[8] = mesh.mirror[left[8]]
    both = np.concatenate([mesh.mirror[left[:8]], left[8:9], left[7::-1]])
    unique = np.full((17, candidates), -1, dtype=np.int32)
    for k, row in enumerate(both):
        kept = row[np.sort(np.unique(row, return_index=True)[1])]
        unique[k, : len(kept)] = kept
    return unique


def mediapipe478(uv: np.ndarray, faces: np.ndarray):
    """Triangles (478,), barycentrics (478, 3) and spread (478,) mm from the kept table."""
    table = np.loadtxt(TABLE, delimiter=",", comments="#")
    corners = uv[faces]
    tree = cKDTree(corners.mean(axis=1))
    near = tree.query(table[:, :2], k=24)[1]
    triangles, weights = np.full(len(table), -1), np.zeros((len(table), 3))
    for k, p in enumerate(table[:, :2]):
        w = planar_barycentric(corners[near[k]], p)
        least = w.min(axis=1)
        tied = np.flatnonzero(least > least.max() - 1e-4)  # points of the midline lie on edges
        best = int(tied[np.argmin(near[k, tied])])
        inside = np.clip(w[best], 0, None)
        triangles[k], weights[k] = near[k, best], inside / inside.sum()
    return triangles, weights, table[:, 2]
