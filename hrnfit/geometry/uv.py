# pyright: basic
# scipy.sparse and half of numpy's functions carry no types that strict mode accepts.
"""One seam-free UV chart for a surface with the topology of a disk with holes.

Holes are closed by a virtual centre vertex, the outer boundary is laid on a convex superellipse, and
every other vertex is a convex combination of its neighbours: with positive weights the map has no
flipped triangle (Tutte; Floater 1997, mean value weights 2003). Dividing the weights by the local
stretch, a few times over, evens out the area (Yoshizawa, Belyaev and Seidel 2004, eq. 6) and keeps
the weights positive, so it keeps the guarantee. All of it runs in float64 on the CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse.linalg import spsolve
from torch import Tensor

Array = NDArray[Any]


class ChartQuality(NamedTuple):
    """How well a chart uses the plane."""

    flipped: int
    """Triangles with no or negative area (the majority's orientation is positive)."""
    used: float
    """Share of the unit square that is covered, 0..1."""
    area_ratio: Float[Tensor, "F"]
    """UV area over surface area, divided by its area-weighted mean: 1 where evenly sampled."""
    anisotropy: Float[Tensor, "F"]
    """Larger over smaller singular value of the map, at least 1; 1 for a similarity."""


def disk_chart(
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    density: Float[Tensor, "N"] | None = None,
    steps: int = 2,
    margin: float = 0.01,
    ends: tuple[int, int] | None = None,
) -> Float[Tensor, "N 2"]:
    """Texture coordinates per vertex: +x of the head toward larger u, +y (forehead) at the top.

    `density`: wished texels per mm, relative; None for even. `steps`: stretch corrections at most, the
    best is kept; two leave a face's regions within 0.74 and 1.16 of the mean texel density at a median
    anisotropy of 1.6, none is nearly conformal (1.1) but starves nose and lips (0.13, 0.2), three go
    to 1.8. `margin`: free border of the square. `ends`: vertices of the outer loop for the top and the
    bottom, where the highest and lowest near x = 0 mislead: at a seam.
    """
    points = vertices.detach().cpu().double().numpy()
    triangles = faces.detach().cpu().numpy().astype(np.int64)
    outer, holes = split_loops(points, boundary_loops(faces, len(points)))
    closed_points, closed = close_holes(points, triangles, holes)
    wish = np.ones(len(points)) if density is None else density.detach().cpu().double().numpy()
    wish = np.concatenate([wish, [wish[loop].mean() for loop in holes]])
    rim = _rim(points, outer, ends)
    weights = mean_value_weights(closed_points, closed)
    best, best_cost = np.zeros((0, 2)), np.inf
    for _ in range(steps + 1):
        flat = solve_inner(weights, outer, rim)
        stretch, cost = _stretch(closed_points, flat, closed, wish)
        if cost >= best_cost:
            break
        best, best_cost = flat, cost
        weights = cast("sp.csr_matrix", weights @ sp.diags(stretch**-0.5)).tocsr()
    chart = np.stack([best[:, 0], -best[:, 1]], axis=1)[: len(points)]
    return torch.from_numpy(0.5 + 0.5 * (1.0 - 2.0 * margin) * chart).to(vertices)


def boundary_loops(faces: Int[Tensor, "F 3"], n_vertices: int) -> list[Int[Tensor, "K"]]:
    """Closed boundary loops, each in the direction of its triangles' edges, longest first."""
    triangles = faces.detach().cpu().numpy().astype(np.int64)
    start = triangles.ravel()
    stop = triangles[:, [1, 2, 0]].ravel()
    key, twin = start * n_vertices + stop, stop * n_vertices + start
    if len(np.unique(key)) != len(key):
        raise ValueError("faces: an edge belongs to two triangles of opposite winding, or to three")
    open_edge = ~np.isin(key, twin)
    follow = dict(zip(start[open_edge].tolist(), stop[open_edge].tolist(), strict=True))
    if len(follow) != int(open_edge.sum()):
        raise ValueError("faces: the boundary touches itself at a vertex; clean the mesh first")
    loops: list[Tensor] = []
    while follow:
        loop = [next(iter(follow))]
        while (after := follow.pop(loop[-1])) != loop[0]:
            loop.append(after)
        loops.append(torch.tensor(loop))
    return sorted(loops, key=len, reverse=True)


def chart_quality(
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "Nuv 2"],
    uv_faces: Int[Tensor, "F 3"],
) -> ChartQuality:
    """Flips, coverage, area and angle distortion of a chart."""
    surface = vertices.detach().cpu().double().numpy()[faces.cpu().numpy()]
    flat = uv.detach().cpu().double().numpy()[uv_faces.cpu().numpy()]
    area_uv = _signed_area(flat)
    area_uv *= np.sign(np.median(area_uv)) or 1.0
    area = _area(surface)
    large, small = _singular_values(surface, flat)
    ratio = area_uv / np.maximum(area, 1e-12)
    return ChartQuality(
        flipped=int((area_uv <= 0).sum()),
        used=float(np.abs(area_uv).sum()),
        area_ratio=torch.from_numpy(ratio * area.sum() / area_uv.sum()),
        anisotropy=torch.from_numpy(large / np.maximum(small, 1e-12)),
    )


def overlaps(uv: Float[Tensor, "Nuv 2"], uv_faces: Int[Tensor, "F 3"], size: int = 1024) -> int:
    """Texel centres (of size x size) covered by more than one triangle; 0 for a proper chart.

    A texel exactly on a shared edge counts once for no more than one of the two (half-open rule by a
    tiny shift of the grid), so tangent triangles are not reported.
    """
    corners = uv.detach().cpu().double().numpy()[uv_faces.cpu().numpy()] * size - 0.5 + 1.234e-7
    count = np.zeros((size, size), dtype=np.int32)
    low = np.clip(np.ceil(corners.min(axis=1)), 0, size).astype(int)
    high = np.clip(np.floor(corners.max(axis=1)) + 1, 0, size).astype(int)
    for triangle, (x0, y0), (x1, y1) in zip(corners, low, high, strict=True):
        if x1 <= x0 or y1 <= y0:
            continue
        x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
        count[y0:y1, x0:x1] += _inside(triangle, x, y)
    return int((count > 1).sum())


def _inside(triangle: Array, x: Array, y: Array) -> Array:
    """Whether the grid points lie in the triangle, of either orientation."""
    sides: list[Array] = []
    for k in range(3):
        (ax, ay), (bx, by) = triangle[k], triangle[(k + 1) % 3]
        sides.append((bx - ax) * (y - ay) - (by - ay) * (x - ax))
    return ((sides[0] > 0) & (sides[1] > 0) & (sides[2] > 0)) | (
        (sides[0] < 0) & (sides[1] < 0) & (sides[2] < 0)
    )


def split_loops(points: Array, loops: list[Tensor]) -> tuple[Array, list[Array]]:
    """The loop of greatest length in mm, and the others."""
    if not loops:
        raise ValueError("faces: a closed surface has no chart without seams; cut it open first")
    arrays = [loop.numpy() for loop in loops]
    lengths = [np.linalg.norm(points[a] - points[np.roll(a, -1)], axis=1).sum() for a in arrays]
    outer = int(np.argmax(lengths))
    return arrays[outer], [a for k, a in enumerate(arrays) if k != outer]


def close_holes(points: Array, triangles: Array, holes: list[Array]) -> tuple[Array, Array]:
    """The mesh with a fan around a new centre vertex in every hole."""
    all_points, all_triangles = [points], [triangles]
    for k, loop in enumerate(holes):
        centre = np.full(len(loop), len(points) + k)
        all_points.append(points[loop].mean(axis=0, keepdims=True))
        all_triangles.append(np.stack([np.roll(loop, -1), loop, centre], axis=1))
    closed_points, closed = np.concatenate(all_points), np.concatenate(all_triangles)
    edges = len(np.unique(np.sort(closed[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0))
    used = len(np.unique(closed))
    if used != len(closed_points):
        raise ValueError(f"faces: {len(closed_points) - used} vertices belong to no triangle")
    if used - edges + len(closed) != 1:
        raise ValueError("faces: not one connected surface without handles, so no single chart")
    return closed_points, closed


def _rim(points: Array, outer: Array, ends: tuple[int, int] | None) -> Array:
    """Positions of the outer loop on a superellipse |x|^4 + |y|^4 = 1, by arc length.

    Fixed so that the loop's top and bottom (in y, nearest the plane x = 0) stand at (0, 1), (0, -1):
    the chart of a symmetric mesh is symmetric.
    """
    loop = points[outer]
    top, bottom = map(outer.tolist().index, ends) if ends else _top_and_bottom(loop)
    order = np.roll(np.arange(len(outer)), -top)
    bottom = (bottom - top) % len(outer)
    step = np.linalg.norm(loop[np.roll(order, -1)] - loop[order], axis=1)
    along = np.concatenate([[0.0], np.cumsum(step)])
    half = along[bottom]
    phase = np.where(
        along[:-1] <= half,
        0.5 * along[:-1] / half,
        0.5 + 0.5 * (along[:-1] - half) / (along[-1] - half),
    )
    angle = np.linspace(0.0, 2.0 * np.pi, 4001)
    curve = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    curve = np.sign(curve) * np.sqrt(np.abs(curve))
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    where = np.interp(phase, arc / arc[-1], angle)
    flat = np.stack([np.sin(where), np.cos(where)], axis=1)
    flat = np.sign(flat) * np.sqrt(np.abs(flat))
    # a loop keeps its surface on the left: from the top it goes to -x; x of a seam's sides is the same
    first_half = loop[order[: max(bottom, 2)], 0].mean() if ends is None else -1.0
    flat[:, 0] *= 1.0 if first_half >= 0 else -1.0
    rim = np.empty_like(flat)
    rim[order] = flat
    return rim


def _top_and_bottom(loop: Array) -> tuple[int, int]:
    """Index of the highest and the lowest point of the loop close to the plane x = 0."""
    middle = np.abs(loop[:, 0] - np.median(loop[:, 0])) / max(float(np.ptp(loop[:, 0])), 1e-9)
    height = loop[:, 1] / max(float(np.ptp(loop[:, 1])), 1e-9)
    return int(np.argmax(height - 3.0 * middle)), int(np.argmin(height + 3.0 * middle))


def mean_value_weights(points: Array, triangles: Array) -> sp.csr_matrix:
    """Mean value weights (tan(a/2) + tan(b/2)) / length, always positive."""
    n = len(points)
    rows: list[Array] = []
    columns: list[Array] = []
    values: list[Array] = []
    for k in range(3):
        i, j, m = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        to_j, to_m = points[j] - points[i], points[m] - points[i]
        length_j = np.maximum(np.linalg.norm(to_j, axis=1), 1e-9)
        length_m = np.maximum(np.linalg.norm(to_m, axis=1), 1e-9)
        cosine = np.clip((to_j * to_m).sum(axis=1) / (length_j * length_m), -0.999, 1.0)
        tangent = np.sqrt((1.0 - cosine) / (1.0 + cosine))
        tangent = np.maximum(tangent, 1e-4)
        rows += [i, i]
        columns += [j, m]
        values += [tangent / length_j, tangent / length_m]
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sp.csr_matrix(entries, shape=(n, n))


def solve_inner(weights: sp.csr_matrix, outer: Array, rim: Array) -> Array:
    """Every inner vertex the weighted mean of its neighbours, the outer loop on the rim."""
    n = cast("tuple[int, int]", weights.shape)[0]
    flat = np.zeros((n, 2))
    flat[outer] = rim
    inner = np.setdiff1d(np.arange(n), outer)
    total = np.asarray(weights.sum(axis=1)).ravel()
    system = (sp.diags(total) - weights).tocsr()[inner]
    flat[inner] = np.asarray(spsolve(system[:, inner].tocsc(), -(system[:, outer] @ rim)))
    return flat


def _stretch(points: Array, flat: Array, triangles: Array, wish: Array) -> tuple[Array, float]:
    """L2 stretch around each vertex (normalised to a mean of 1) and over the whole surface."""
    surface, plane = points[triangles], flat[triangles]
    large, small = _singular_values(plane, surface)
    area = _area(surface)
    triangle_wish = wish[triangles].mean(axis=1)
    squared = 0.5 * (large**2 + small**2) * triangle_wish**2 * area
    around = np.zeros(len(points))
    weight = np.zeros(len(points))
    for k in range(3):
        np.add.at(around, triangles[:, k], squared)
        np.add.at(weight, triangles[:, k], area)
    stretch = np.sqrt(around / np.maximum(weight, 1e-12))
    return stretch / stretch.mean(), float(np.sqrt(squared.sum() / area.sum()))


def _singular_values(source: Array, target: Array) -> tuple[Array, Array]:
    """Singular values of the linear map from each source triangle to its target, (F, 3, 2|3)."""
    frame = _flattened(source)
    doubled = frame[:, 1, 0] * frame[:, 2, 1] - frame[:, 1, 1] * frame[:, 2, 0]
    doubled = np.where(np.abs(doubled) < 1e-15, 1e-15, doubled)[:, None]
    e1, e2 = target[:, 1] - target[:, 0], target[:, 2] - target[:, 0]
    along_x = (e1 * frame[:, 2, 1:2] - e2 * frame[:, 1, 1:2]) / doubled
    along_y = (e2 * frame[:, 1, 0:1] - e1 * frame[:, 2, 0:1]) / doubled
    a, b, c = (along_x**2).sum(1), (along_x * along_y).sum(1), (along_y**2).sum(1)
    root = np.sqrt((a - c) ** 2 + 4.0 * b**2)
    return np.sqrt(0.5 * (a + c + root)), np.sqrt(np.maximum(0.5 * (a + c - root), 0.0))


def _flattened(corners: Array) -> Array:
    """Each triangle in its own plane, first corner at the origin, first edge along x."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.maximum(np.linalg.norm(e1, axis=1), 1e-15)
    x = (e1 * e2).sum(axis=1) / length
    y = np.sqrt(np.maximum((e2 * e2).sum(axis=1) - x**2, 0.0))
    zero = np.zeros_like(x)
    return np.stack(
        [np.stack([zero, zero], 1), np.stack([length, zero], 1), np.stack([x, y], 1)], axis=1
    )


def _area(corners: Array) -> Array:
    """Area of each triangle in space."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return 0.5 * np.linalg.norm(normal, axis=1)


def _signed_area(corners: Array) -> Array:
    """Signed area of each triangle in the plane."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * (e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0])
