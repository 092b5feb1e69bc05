"""Triangulation of the chart: graded, mirror-symmetric, cut open along the mouth.

Half of the chart is filled with points whose spacing on the surface follows `target_edge`, relaxed
as a truss (Persson and Strang 2004, "A simple mesh generator in MATLAB") with edge lengths taken on
the surface; the other half is its mirror image. Along the mouth the vertices are doubled and the
rims extruded inwards, so that the lips can part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import Delaunay, cKDTree

from . import cage
from .surface import base_surface, lid_rims, mouth_line, surface

CENTRE_B, HALF_A, HALF_B, POWER = -52.0, 156.0, 134.0, 2.7
STEP = 1.5


@dataclass(frozen=True)
class Mesh:
    """The whole mesh."""

    chart: np.ndarray
    """(N, 2) chart coordinates, mm; the inner lips share those of their rim."""
    vertices: np.ndarray
    """(N, 3) mm, frame of `cage`."""
    faces: np.ndarray
    """(F, 3) int32, counter-clockwise from outside."""
    mirror: np.ndarray
    """(N,) index of the mirror image."""
    inner: np.ndarray
    """(N,) int: 0 on the skin, 1.. on the rows rolled into the mouth; sign -1 on the lower lip."""
    side: np.ndarray
    """(N,) -1 on the lower lip and below, +1 above the mouth."""


class ChartGrid:
    """Surface positions on a regular grid of the chart, for cheap bilinear look-up."""

    def __init__(self) -> None:
        self.a = np.arange(-12.0, HALF_A + 6, STEP)
        self.b = np.arange(CENTRE_B - HALF_B - 6, CENTRE_B + HALF_B + 6, STEP)
        grid = np.stack(np.meshgrid(self.a, self.b), axis=-1).reshape(-1, 2)
        base = base_surface(grid)
        side = np.where(base[:, 1] > mouth_line(np.abs(base[:, 0])), 1, -1)
        shape = (len(self.b), len(self.a), 3)
        # rounded, so that the last bits of another machine's algebra cannot change the topology
        self.base = base.round(4).reshape(shape)
        self.full = surface(grid, side).round(4).reshape(shape)

    def __call__(self, chart: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values (nb, na, C) at chart points (K, 2)."""
        rows = [(chart[:, 1] - self.b[0]) / STEP, (chart[:, 0] - self.a[0]) / STEP]
        return np.stack(
            [map_coordinates(values[..., k], rows, order=1, mode="nearest") for k in range(3)], 1
        )

    def chart_from_xy(self, xy: np.ndarray) -> np.ndarray:
        """Chart points (K, 2) whose base position has the given frontal x, y (K, 2)."""
        front = np.abs(self.a) < 75
        flat = self.base[:, front].reshape(-1, 3)
        grid = np.stack(np.meshgrid(self.a[front], self.b), axis=-1).reshape(-1, 2)
        chart = grid[cKDTree(flat[:, :2]).query(xy)[1]]
        for _ in range(6):
            here = base_surface(chart)[:, :2]
            jac = [(base_surface(chart + d)[:, :2] - here) / 0.1 for d in ([0.1, 0], [0, 0.1])]
            chart = chart + np.linalg.solve(np.stack(jac, axis=2), (xy - here)[..., None])[..., 0]
        return chart.round(4)


def boundary(count: int) -> np.ndarray:
    """Half outline of the chart (count, 2): a superellipse from the top to the bottom, a >= 0."""
    t = np.linspace(np.pi / 2, -np.pi / 2, 4001)
    c, s = np.cos(t), np.sin(t)
    outline = np.stack(
        [
            HALF_A * np.abs(c) ** (2 / POWER),
            CENTRE_B + HALF_B * np.sign(s) * np.abs(s) ** (2 / POWER),
        ],
        axis=1,
    )
    return resample(outline, count)


def resample(curve: np.ndarray, count: int) -> np.ndarray:
    """Points (count, D) evenly spaced along a polyline (K, D)."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    t = np.linspace(0, length[-1], count)
    return np.stack([np.interp(t, length, curve[:, k]) for k in range(curve.shape[1])], axis=1)


def target_edge(p: np.ndarray) -> np.ndarray:
    """Wanted edge length (K,) at base positions (K, 3), mm: 0.9 at lids and lips, 3.6 far away."""
    x, y = np.abs(p[:, 0]), p[:, 1]

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        r = np.hypot((x - cx) / rx, (y - cy) / ry)
        return np.maximum(0.0, (r - 1.0) * min(rx, ry))

    eye = 0.95 + 0.09 * ellipse(30.5, 0.5, 17, 9)
    lips = 1.0 + 0.09 * ellipse(0, -72, 28, 10)
    nose = 1.25 + 0.08 * ellipse(0, -43, 19, 10)
    bridge = 1.6 + 0.08 * ellipse(0, -20, 14, 25)
    face = 2.2 + 0.035 * ellipse(0, -40, 55, 72)
    return np.minimum.reduce([eye, lips, nose, bridge, face, np.full(len(x), 3.8)])


def fixed_points(grid: ChartGrid) -> tuple[np.ndarray, int]:
    """Chart points that do not move: the mouth line first (their count is returned), then its
    flanks, the lid margins and the outline."""
    x = np.linspace(0, 26.0, 29)
    slit = np.stack([x, mouth_line(x)], axis=1)
    flank_x = 0.5 * (x[:-1] + x[1:])
    flanks = [np.stack([flank_x, mouth_line(flank_x) + d], axis=1) for d in (-0.75, 0.75)]
    en, ex = cage.ENDOCANTHION, cage.EXOCANTHION
    dense = np.linspace(en[0], ex[0], 400)
    lower, upper = lid_rims(dense)
    rims = [np.concatenate([en[None], ex[None]])]
    for height, inwards in ((lower, 1.0), (upper, -1.0)):
        rims.append(resample(np.stack([dense, height], axis=1), 33)[1:-1])
        inner = np.abs(upper - lower) > 3.2
        rims.append(resample(np.stack([dense, height + 0.95 * inwards], axis=1)[inner], 30))
    frontal = grid.chart_from_xy(np.concatenate([slit, *flanks, *rims]))
    frontal[0, 0] = 0.0
    return np.concatenate([frontal, boundary(170)]), len(slit)


def _seed(grid: ChartGrid, rng: np.random.Generator) -> np.ndarray:
    """Start points (K, 2), as dense as `target_edge` asks."""
    a, b = np.meshgrid(grid.a, grid.b)
    du, dv = np.gradient(grid.full, STEP, axis=1), np.gradient(grid.full, STEP, axis=0)
    area = np.linalg.norm(np.cross(du, dv), axis=-1).ravel()
    density = area / (0.866 * target_edge(grid.base.reshape(-1, 3)) ** 2)
    r = (np.abs(a) / HALF_A) ** POWER + (np.abs(b - CENTRE_B) / HALF_B) ** POWER
    density = density * ((a.ravel() > 0) & (r.ravel() < 0.985))
    cumulative = np.cumsum(density) * STEP**2
    pick = np.searchsorted(cumulative, np.arange(0.5, cumulative[-1], 1.0))
    points = np.stack([a.ravel()[pick], b.ravel()[pick]], axis=1)
    return points + rng.uniform(-0.5, 0.5, points.shape) * STEP


def _triangulate(points: np.ndarray) -> np.ndarray:
    """Delaunay triangles (F, 3) of chart points, clockwise in (a, b) up, slivers removed."""
    tri = Delaunay(points).simplices
    p, q, r = (points[tri[:, k]] for k in range(3))
    area = (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (r[:, 0] - p[:, 0]) * (q[:, 1] - p[:, 1])
    tri = np.where((area < 0)[:, None], tri[:, ::-1], tri)
    return tri[np.abs(area) > 1e-3]


def relax(grid: ChartGrid, iterations: int = 70) -> tuple[np.ndarray, np.ndarray, int]:
    """Chart points of the half (K, 2) with a >= 0, their triangles, the count of mouth points."""
    fixed, n_slit = fixed_points(grid)
    seed = _seed(grid, np.random.default_rng(7))
    seed = seed[cKDTree(fixed).query(seed)[0] > 0.45]
    points, n_fixed = np.concatenate([fixed, seed]), len(fixed)
    for step in range(iterations):
        tri = _triangulate(points)
        edges = np.unique(np.sort(tri[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
        i, j = edges.T
        at = grid(points, grid.full)
        wanted = target_edge(grid(0.5 * (points[i] + points[j]), grid.base))
        length = np.linalg.norm(at[i] - at[j], axis=1)
        wanted = wanted * 1.12 * np.sqrt((length**2).sum() / (wanted**2).sum())
        push = np.clip(wanted - length, 0, None) / np.maximum(length, 1e-6)
        force = push[:, None] * (points[i] - points[j])
        move = np.zeros_like(points)
        np.add.at(move, i, force)
        np.add.at(move, j, -force)
        points = points.copy()
        points[n_fixed:] += (0.22 if step < iterations - 15 else 0.12) * move[n_fixed:]
        free = points[n_fixed:]
        axis = np.abs(free[:, 0]) < 0.35 * target_edge(grid(free, grid.base)) * 0.8
        free[:, 0] = np.where(axis, 0.0, np.abs(free[:, 0]))
        _keep_off(free, fixed[:n_slit])
        _keep_inside(free)
        points = points.round(6)
        if step in (25, 45):
            crowd = cKDTree(points).query_pairs(0.3, output_type="ndarray")
            drop = np.unique(crowd.max(axis=1)) if len(crowd) else np.empty(0, int)
            points = np.delete(points, drop[drop >= n_fixed], axis=0)
    return points, _triangulate(points), n_slit


def _keep_off(free: np.ndarray, slit: np.ndarray) -> None:
    """Move points out of the strip along the mouth, so that its edges are Delaunay edges."""
    above = free[:, 1] - np.interp(free[:, 0], slit[:, 0], slit[:, 1])
    close = (np.abs(above) < 1.15) & (free[:, 0] < slit[-1, 0] + 0.8)
    free[close, 1] += (np.where(above < 0, -1.15, 1.15) - above)[close]


def _keep_inside(free: np.ndarray) -> None:
    """Pull points that left the outline back to just inside it."""
    offset = free - [0.0, CENTRE_B]
    r = ((np.abs(offset) / [HALF_A, HALF_B]) ** POWER).sum(axis=1) ** (1 / POWER)
    free[:] = offset * np.minimum(1.0, 0.985 / np.maximum(r, 1e-9))[:, None] + [0.0, CENTRE_B]


def build_mesh() -> Mesh:
    """The mesh of the mean face."""
    grid = ChartGrid()
    points, tri, n_slit = relax(grid)
    chart, faces, side, slit = _cut(points, tri, n_slit)
    chart, faces, side, mirror, rim = _mirrored(chart, faces, side, slit)
    chart, faces, side, mirror, inner = _roll_in(chart, faces, side, mirror, rim)
    vertices = _place(chart, side, inner, mirror)
    return Mesh(chart, vertices, faces.astype(np.int32), mirror, inner, side)


def _cut(points, tri, n_slit):
    """Double the mouth points except the corner: lower copies are appended."""
    slit = np.arange(n_slit)
    on_slit = np.isin(tri, slit)
    touching = on_slit.any(axis=1)
    centre = points[tri].mean(axis=1)
    line = np.interp(centre[:, 0], points[slit, 0], points[slit, 1])
    below = touching & (centre[:, 1] < line) & (centre[:, 0] <= points[n_slit - 1, 0])
    copy = np.arange(len(points))
    copy[slit[:-1]] = len(points) + slit[:-1]
    tri = np.where(below[:, None], copy[tri], tri)
    chart = np.concatenate([points, points[slit[:-1]]])
    x_slit, y_slit = points[slit, 0], points[slit, 1]
    side = np.where(chart[:, 1] >= np.interp(chart[:, 0], x_slit, y_slit) - 1e-9, 1, -1)
    side[len(points) :] = -1
    return chart, tri, side, (slit, np.append(copy[slit[:-1]], slit[-1]))


def _mirrored(chart, faces, side, slit):
    """Both halves; the vertices on the axis are shared. `rim`: mouth rims, right to left."""
    axis = np.abs(chart[:, 0]) < 1e-9
    twin = np.arange(len(chart))
    twin[~axis] = len(chart) + np.arange((~axis).sum())
    mirror = np.concatenate([twin, np.flatnonzero(~axis)])
    faces = np.concatenate([faces, twin[faces][:, ::-1]])
    rim = [np.concatenate([twin[line[:0:-1]], line]) for line in slit]
    chart = np.concatenate([chart, chart[~axis] * [-1, 1]])
    return chart, faces, np.concatenate([side, side[~axis]]), mirror, rim


ROLL = np.array([[0.6, 0.15], [2.2, 0.7], [5.0, 2.0], [12.0, 4.5]])
"""Depth and height of the rows rolled into the mouth, mm from the rim."""


def _roll_in(chart, faces, side, mirror, rim):
    """Extrude the ring of the mouth rims inwards, and close it there: the dark back of the mouth."""
    upper, lower = rim
    ring = np.concatenate([upper, lower[-2:0:-1]])  # right corner, upper, left corner, lower
    sign = np.concatenate([np.ones(len(upper), int), -np.ones(len(ring) - len(upper), int)])
    inner, n = np.zeros(len(chart), int), len(chart)
    position = np.full(n, -1)
    position[ring] = np.arange(len(ring))
    ring_mirror = position[mirror[ring]]
    previous = ring
    for row in range(1, len(ROLL) + 1):
        current = n + np.arange(len(ring))
        after = np.roll(np.arange(len(ring)), -1)
        quad = np.stack([previous, previous[after], current[after], current], axis=1)
        faces = np.concatenate([faces, quad[:, [0, 2, 1]], quad[:, [0, 3, 2]]])
        chart = np.concatenate([chart, chart[ring]])
        side = np.concatenate([side, side[ring]])
        inner = np.concatenate([inner, row * sign])
        mirror = np.concatenate([mirror, current[ring_mirror]])
        previous, n = current, n + len(ring)
    return chart, np.concatenate([faces, _back(previous, len(upper))]), side, mirror, inner


def _back(ring: np.ndarray, n_upper: int) -> np.ndarray:
    """Triangles that close the innermost ring (right corner, upper row, left corner, lower row)."""
    upper = ring[:n_upper]  # right to left
    lower = np.concatenate([ring[:1], ring[: n_upper - 2 : -1]])  # the same, both corners included
    half = np.arange(n_upper - 1) < (n_upper - 1) // 2  # the diagonals are mirror images, too
    a, b, c, d = lower[:-1], lower[1:], upper[1:], upper[:-1]
    left = np.concatenate([np.stack([a, b, c], 1)[half], np.stack([a, c, d], 1)[half]])
    right = np.concatenate([np.stack([a, b, d], 1)[~half], np.stack([b, c, d], 1)[~half]])
    faces = np.concatenate([left, right])
    ends = (
        (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 0] == faces[:, 2])
    )
    return faces[~ends]


def _place(chart, side, inner, mirror):
    """Vertex positions: the surface, then the rolled rows behind their rims."""
    vertices = surface(chart, side)
    row = np.abs(inner)
    depth, height = np.append(ROLL[:, 0], 0)[row - 1], np.append(ROLL[:, 1], 0)[row - 1]
    narrow = np.sqrt(np.clip(1 - (vertices[:, 0] / 26.5) ** 2, 0, 1))
    vertices[:, 2] -= depth * (row > 0)
    vertices[:, 1] += np.sign(inner) * height * narrow * (row > 0)
    return 0.5 * (vertices + vertices[mirror] * [-1, 1, 1])
