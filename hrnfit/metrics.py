"""How far a reconstruction is from the truth: scan-to-mesh distance, per-vertex error, normal angle.

Scan-to-mesh: every scan point against the nearest point of the reconstruction, after no, a rigid or a
similarity alignment that starts at point pairs and then lowers the squared distances (as in the NoW
benchmark). Needs scipy alone. How a scan is cropped and sampled is the benchmark's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from hrnfit.geometry.align import Similarity, align_rigid, align_similarity
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.rotation import rotation_exp

Array = NDArray[np.float64]
Alignment = Literal["none", "rigid", "similarity"]
FREEDOM: dict[str, int] = {"none": 0, "rigid": 6, "similarity": 7}
"""Unknowns of each alignment: rotation, translation, scale."""


@dataclass(frozen=True)
class Nearest:
    """Nearest points of a surface to P points."""

    distance: Float[Tensor, "P"]
    """Unsigned, in the unit of the vertices."""
    triangle: Int[Tensor, "P"]
    barycentric: Float[Tensor, "P 3"]
    points: Float[Tensor, "P 3"]


@dataclass(frozen=True)
class SurfaceScores:
    """Scan-to-mesh accuracy."""

    median: float
    """mm, like mean and p95."""
    mean: float
    p95: float
    normal_median: float
    """Degrees; NaN where the scan came without normals."""
    normal_mean: float
    scale: float
    """Of the alignment, scan units per unit of the mesh."""


@dataclass(frozen=True)
class VertexScores:
    """Error of corresponding vertices, mm, in all and its parts across and along the surface."""

    median: float
    mean: float
    p95: float
    along_median: float
    """Along the true normal: the part that photographs show."""
    along_p95: float
    across_median: float
    """Along the skin: no photograph of unknown albedo shows it, only the model's prior does."""


class Surface:
    """A triangle mesh that is asked for nearest points many times."""

    def __init__(self, vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> None:
        if len(faces) == 0 or not bool(torch.isfinite(vertices).all()):
            raise ValueError("mesh: expected at least one triangle and finite vertices")
        self.vertices, self.faces = vertices.detach().double().cpu(), faces.long().cpu()
        self._corners: Array = self.vertices[self.faces].numpy()
        centres = self._corners.mean(1)
        radii = np.linalg.norm(self._corners - centres[:, None], axis=-1).max(1)
        # One tree per octave of triangle size: a neck's large triangles would else widen the search
        # of every point.
        octave = np.round(np.log2(np.maximum(radii, 1e-9))).astype(int)
        self._trees = [
            (index, KDTree(centres[index]), float(radii[index].max()))
            for index in (np.flatnonzero(octave == o) for o in np.unique(octave))
        ]

    def nearest(self, points: Float[Tensor, "P 3"]) -> Nearest:
        """Exact nearest points of the surface."""
        asked: Array = points.detach().double().cpu().numpy()
        best = np.full(len(asked), np.inf)
        triangle = np.zeros(len(asked), dtype=np.int64)
        weights = np.zeros((len(asked), 3))
        for index, tree, radius in self._trees:
            self._search(asked, index, tree, radius, best, triangle, weights)
        found = np.einsum("pc,pcd->pd", weights, self._corners[triangle])
        return Nearest(*(torch.from_numpy(x) for x in (best, triangle, weights, found)))

    def _search(
        self,
        asked: Array,
        index: NDArray[np.int64],
        tree: KDTree,
        radius: float,
        best: Array,
        triangle: NDArray[np.int64],
        weights: Array,
    ) -> None:
        """Look among triangles of one size until none that was left out can be nearer."""
        open_points, k = np.arange(len(asked)), min(8, len(index))
        while len(open_points):
            reach, rows = tree.query(asked[open_points], k=k)
            reach, rows = (x.reshape(len(open_points), k) for x in (reach, rows))
            candidates = index[rows]  # (O, k)
            distance, found = _triangle_distances(asked[open_points], self._corners[candidates])
            pick = distance.argmin(1)[:, None]
            nearer = np.take_along_axis(distance, pick, 1)[:, 0]
            better = nearer < best[open_points]
            at = open_points[better]
            best[at] = nearer[better]
            triangle[at] = np.take_along_axis(candidates, pick, 1)[better, 0]
            weights[at] = np.take_along_axis(found, pick[..., None], 1)[better, 0]
            if k == len(index):
                return
            open_points = open_points[best[open_points] > reach[:, -1] - radius]
            k = min(4 * k, len(index))


def scan_to_mesh(
    points: Float[Tensor, "P 3"],
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    *,
    normals: Float[Tensor, "P 3"] | None = None,
    alignment: Alignment = "none",
    pairs: tuple[Float[Tensor, "K 3"], Float[Tensor, "K 3"]] | None = None,
) -> SurfaceScores:
    """Accuracy of a mesh at the points of a scan, mm.

    normals: of the scan, unit. pairs: landmarks of the mesh and of the scan, where `rigid` and
    `similarity` start. Raises ValueError when they are missing or the alignment is unknown.
    """
    check_alignment(alignment, pairs)
    surface, points = Surface(vertices, faces), points.detach().double().cpu()
    placed = _identity()
    if pairs is not None and FREEDOM[alignment]:
        start = align_rigid if alignment == "rigid" else align_similarity
        placed = start(*(p.detach().double().cpu() for p in pairs))
        placed = refine(surface, points, placed, FREEDOM[alignment])
    nearest = _nearest_under(surface, points, placed)
    distance = nearest.distance * placed.scale
    angle = torch.full((1,), torch.nan, dtype=torch.float64)
    if normals is not None:
        smooth = vertex_normals(surface.vertices, surface.faces)[surface.faces[nearest.triangle]]
        found = (nearest.barycentric[..., None] * smooth).sum(1) @ placed.rotation.mT
        angle = normal_angle(found, normals.detach().double().cpu())
    return SurfaceScores(
        median=float(distance.median()),
        mean=float(distance.mean()),
        p95=float(distance.quantile(0.95)),
        normal_median=float(angle.median()),
        normal_mean=float(angle.mean()),
        scale=float(placed.scale),
    )


def check_alignment(alignment: str, pairs: object) -> None:
    """ValueError when the alignment is unknown, or has nowhere to start."""
    if alignment not in FREEDOM:
        raise ValueError(f"alignment: expected {', '.join(FREEDOM)}, got {alignment!r}")
    if FREEDOM[alignment] and pairs is None:
        raise ValueError(f"alignment {alignment!r}: pass pairs=(mesh landmarks, scan landmarks)")


def refine(
    surface: Surface,
    points: Float[Tensor, "P 3"],
    start: Similarity,
    freedom: int,
    steps: int = 60,
    tolerance: float = 1e-7,
) -> Similarity:
    """Gauss-Newton on the squared distances; freedom 6 is rigid, 7 moves the scale too."""
    placed, previous = start, float("inf")
    centre = points.mean(0)
    for _ in range(steps):
        nearest = _nearest_under(surface, points, placed)
        found = placed.apply(nearest.points)
        offset = points - found
        distance = offset.norm(dim=1)
        towards = offset / distance.clamp_min(1e-9)[:, None]
        arm = found - centre
        columns = [torch.linalg.cross(arm, towards), towards, (arm * towards).sum(1, keepdim=True)]
        J = torch.cat(columns, 1)[:, :freedom]
        normal = J.T @ J + 1e-6 * len(points) * torch.eye(freedom, dtype=J.dtype)
        step = torch.zeros(7, dtype=J.dtype)
        step[:freedom] = torch.linalg.solve(normal, J.T @ distance)
        turn, growth = rotation_exp(step[:3]), 1 + step[6]
        moved = centre + growth * turn @ (placed.translation - centre) + step[3:6]
        placed = Similarity(placed.scale * growth, turn @ placed.rotation, moved)
        error = float(distance.square().mean())
        if abs(previous - error) < tolerance * max(error, 1e-9):
            break
        previous = error
    return placed


def vertex_scores(
    found: Float[Tensor, "N 3"],
    true: Float[Tensor, "N 3"],
    normals: Float[Tensor, "N 3"],
    valid: Bool[Tensor, "N"] | None = None,
) -> VertexScores:
    """Error of corresponding vertices; `normals` are the true surface's, unit."""
    offset = (found - true).double()
    if valid is not None:
        if not bool(valid.any()):
            raise ValueError("valid: no vertex is left to measure")
        offset, normals = offset[valid], normals[valid]
    distance = offset.norm(dim=-1)
    along = (offset * normals).sum(-1)
    across = (offset - along[:, None] * normals).norm(dim=-1)
    along = along.abs()
    return VertexScores(
        median=float(distance.median()),
        mean=float(distance.mean()),
        p95=float(distance.quantile(0.95)),
        along_median=float(along.median()),
        along_p95=float(along.quantile(0.95)),
        across_median=float(across.median()),
    )


def normal_angle(a: Float[Tensor, "*B 3"], b: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    """Angle between directions of any length, degrees; accurate at 0 and 180."""
    sine = torch.linalg.cross(a, b).norm(dim=-1)
    return torch.rad2deg(torch.atan2(sine, (a * b).sum(-1)))


def _identity() -> Similarity:
    one = torch.ones((), dtype=torch.float64)
    return Similarity(one, torch.eye(3, dtype=one.dtype), torch.zeros(3, dtype=one.dtype))


def _nearest_under(surface: Surface, points: Tensor, placed: Similarity) -> Nearest:
    """Nearest points in the mesh's own frame and unit."""
    return surface.nearest((points - placed.translation) @ placed.rotation / placed.scale)


def _triangle_distances(points: Array, corners: Array) -> tuple[Array, Array]:
    """Distance (P, k) and barycentrics (P, k, 3) of the nearest point of each candidate triangle.

    points (P, 3), corners (P, k, 3, 3). The foot of the perpendicular where it falls inside, else the
    nearest point of the three edges.
    """
    a, b, c = corners[:, :, 0], corners[:, :, 1], corners[:, :, 2]
    p = points[:, None]
    weights = np.stack([_edge(p, a, b, 0, 1), _edge(p, b, c, 1, 2), _edge(p, c, a, 2, 0)])
    inside, is_inside = _foot(p, a, b, c)
    weights = np.concatenate([weights, inside[None]])
    offset = p - np.einsum("epkc,pkcd->epkd", weights, corners)
    distance = np.sqrt(np.einsum("epkd,epkd->epk", offset, offset))
    distance[3] = np.where(is_inside, distance[3], np.inf)
    pick = distance.argmin(0)[None]
    return (
        np.take_along_axis(distance, pick, 0)[0],
        np.take_along_axis(weights, pick[..., None], 0)[0],
    )


def _edge(p: Array, start: Array, end: Array, i: int, j: int) -> Array:
    """Barycentrics (P, k, 3) of the nearest point of the edge from corner i to corner j."""
    along = end - start
    squared = np.maximum((along**2).sum(-1), 1e-30)
    t = np.clip(((p - start) * along).sum(-1) / squared, 0, 1)
    out = np.zeros((*t.shape, 3))
    out[..., i], out[..., j] = 1 - t, t
    return out


def _foot(p: Array, a: Array, b: Array, c: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Barycentrics of the perpendicular's foot, and whether it lies in the triangle."""
    u, v, w = b - a, c - a, p - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = np.maximum(uu * vv - uv**2, 1e-30)
    second, third = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    weights = np.stack([1 - second - third, second, third], -1)
    return weights, (weights >= 0).all(-1) & (uu * vv > uv**2)
