"""Region masks from the 68 landmarks, for models that bring none.

Regions are drawn in the chart, where the face is flat: a vertex belongs to a region when it lies in
the landmark polygon, or within some mm of it (distance in UV times the local scale of the chart).
Ears and neck lie outside the landmarks and are told by position in the head frame.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hrnfit.geometry.uv import boundary_loops, split_loops

LIPS, LIDS, BROW_HEIGHT, BROW_EDGE = 2.0, 5.0, 4.5, 2.0
"""Width of a region beyond its landmarks, mm."""


def regions_from_landmarks(
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "N 2"],
    points: Float[Tensor, "68 3"],
) -> dict[str, Bool[Tensor, "N"]]:
    """Vertex masks: eyes (rims), lids, brows, nose, nostrils, lips, mouth (rim), jaw, cheeks,
    forehead, ears, neck, skin. `vertices`, `points`: mean face, head frame, mm; `uv` per vertex."""
    chart = uv.double().numpy()
    marks = chart[torch.cdist(points, vertices).argmin(dim=1).numpy()]
    scale = _mm_per_uv(vertices, faces, uv)

    def within(polygon: NDArray, reach: float) -> Bool[Tensor, "N"]:
        inside = _inside(chart, polygon)
        near = _distance(chart, polygon, closed=True) * scale < reach
        return torch.from_numpy(inside | near)

    eyes = [marks[36:42], marks[42:48]]
    loops = boundary_loops(faces, len(vertices))
    holes = split_loops(vertices.double().numpy(), loops)[1] if loops else []
    rims = [torch.from_numpy(hole) for hole in holes]
    eye_rim, mouth_rim = _rims(rims, vertices, points)
    lids = within(eyes[0], LIDS) | within(eyes[1], LIDS)
    lips = within(marks[48:60], LIPS)
    brows = _brow(chart, marks[17:22], scale) | _brow(chart, marks[22:27], scale)
    nose = within(marks[[27, 31, 32, 33, 34, 35]], 6.0) & ~lips & ~lids
    # behind the first jaw points the head is ear and scalp; below the jaw line it is neck
    _x, y, z = vertices.unbind(dim=1)
    behind = z < points[[0, 16], 2].mean() - 4.0
    ears = behind & (y < points[17:27, 1].mean()) & (y > points[[3, 13], 1].mean())
    neck = ~torch.from_numpy(_inside(chart, _face_outline(marks))) & (y < points[[3, 13], 1].mean())
    forehead = ~brows & ~lids & ~ears & (y > points[17:27, 1].mean())
    jaw = within(_jaw_band(marks), 1.0) & ~lips
    cheeks = ~(lids | lips | brows | nose | ears | neck | forehead | jaw)
    skin = ~(lids | lips | brows | ears)
    masks = {
        "eyes": eye_rim,
        "mouth": mouth_rim,
        "lids": lids,
        "brows": brows,
        "nose": nose,
        "lips": lips,
    }
    masks |= {
        "jaw": jaw,
        "cheeks": cheeks,
        "forehead": forehead,
        "ears": ears,
        "neck": neck,
        "skin": skin,
    }
    return masks


def _rims(
    loops: list[Tensor], vertices: Float[Tensor, "N 3"], points: Float[Tensor, "68 3"]
) -> tuple[Bool[Tensor, "N"], Bool[Tensor, "N"]]:
    """Vertices on holes next to the eye corners, and on holes next to the mouth corners."""
    masks = torch.zeros(2, len(vertices), dtype=torch.bool)
    corners = torch.stack([points[[36, 39, 42, 45]].mean(0), points[[60, 64]].mean(0)])
    eyes = torch.stack([points[36:42].mean(0), points[42:48].mean(0)])
    for loop in loops:
        middle = vertices[loop].mean(dim=0)
        to_eye = float((eyes - middle).norm(dim=1).min())
        to_mouth = float((corners[1] - middle).norm())
        if min(to_eye, to_mouth) < 20.0:
            masks[0 if to_eye < to_mouth else 1, loop] = True
    return masks[0], masks[1]


def _brow(chart: NDArray, line: NDArray, scale: NDArray) -> Bool[Tensor, "N"]:
    """A band along the five brow points: they mark the upper edge (iBUG), so more lies below."""
    below = line + np.array([0.0, 1.0]) * np.median(1.0 / scale) * BROW_HEIGHT
    band = np.concatenate([line, below[::-1]])
    near = _distance(chart, band, closed=True) * scale < BROW_EDGE
    return torch.from_numpy(_inside(chart, band) | near)


def _face_outline(marks: NDArray) -> NDArray:
    """Jaw points and brows as one polygon."""
    return np.concatenate([marks[:17], marks[26:21:-1], marks[21:16:-1]])


def _jaw_band(marks: NDArray) -> NDArray:
    """The jaw line and its inner parallel, two thirds of the way out from the mouth."""
    outline = marks[2:15]
    middle = marks[48:60].mean(axis=0)
    return np.concatenate([outline, (middle + 0.66 * (outline - middle))[::-1]])


def _mm_per_uv(
    vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], uv: Float[Tensor, "N 2"]
) -> NDArray:
    """Local scale of the chart at each vertex, from the areas of its triangles."""
    index = faces.long()
    corners, flat = vertices[index].double(), uv[index].double()
    cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    e1, e2 = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    area_uv = (e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]).abs()
    sums = torch.zeros(2, len(vertices), dtype=torch.float64)
    for k in range(3):
        sums[0].index_add_(0, index[:, k], cross.norm(dim=1))
        sums[1].index_add_(0, index[:, k], area_uv)
    return (sums[0] / sums[1].clamp_min(1e-15)).sqrt().numpy()


def _inside(points: NDArray, polygon: NDArray) -> NDArray[np.bool_]:
    """Even-odd rule."""
    inside = np.zeros(len(points), dtype=bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (ay > points[:, 1]) != (by > points[:, 1])
        at = ax + (points[:, 1] - ay) * (bx - ax) / ((by - ay) or 1e-12)
        inside ^= crosses & (points[:, 0] < at)
    return inside


def _distance(points: NDArray, line: NDArray, closed: bool) -> NDArray:
    """Distance to a polyline."""
    ends = np.roll(line, -1, axis=0) if closed else line[1:]
    nearest = np.full(len(points), np.inf)
    for a, b in zip(line if closed else line[:-1], ends, strict=True):
        along = b - a
        t = np.clip((points - a) @ along / max(float(along @ along), 1e-15), 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(points - a - t[:, None] * along, axis=1))
    return nearest
