"""Which landmarks of a detected face are seen and which the detector only guesses.

MediaPipe gives x, y in px and a depth z of the same scale (smaller is nearer), weak perspective.
The points' own mesh then tells what faces away and what lies behind something else.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.observe.facemesh import N_POINTS

HIDDEN = 0.05
"""Confidence of a point that is surely not seen: the detector's guess still bounds it."""


def visibility(points: Float[Tensor, "478 3"]) -> Float[Tensor, "478"]:
    """Confidence `HIDDEN`..1: by the angle of the surface, and `HIDDEN` behind another part."""
    triangles = face_triangles()
    normals = _normals(points, triangles)
    # Fully trusted up to 60 degrees from the viewer, not at all beyond 95.
    facing = -normals[:, 2]
    low, high = -0.09, 0.5
    ramp = ((facing - low) / (high - low)).clamp(0, 1)
    seen = ramp * ramp * (3 - 2 * ramp)
    # The iris points lie in a hole of the mesh: they see what the eye's corners see.
    for iris, corners in (((468, 473), (33, 133)), ((473, 478), (362, 263))):
        seen[iris[0] : iris[1]] = seen[list(corners)].mean()
    hidden = _occluded(points, triangles)
    seen = torch.where(hidden, torch.zeros_like(seen), seen)
    return HIDDEN + (1 - HIDDEN) * seen


@lru_cache(maxsize=1)
def face_triangles() -> Int[Tensor, "F 3"]:
    """FaceMesh triangles, the 3-cliques of MediaPipe's edge list; order of corners arbitrary."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    near: dict[int, set[int]] = {}
    for a, b in FACEMESH_TESSELATION:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    cliques = {tuple(sorted((a, b, c))) for a, b in FACEMESH_TESSELATION for c in near[a] & near[b]}
    edges = [e for t in cliques for e in combinations(t, 2)]
    uses = dict.fromkeys(edges, 0)
    for e in edges:
        uses[e] += 1
    # Two cliques surround a vertex without being a face; each of their edges has a third triangle.
    faces = [t for t in cliques if not all(uses[e] > 2 for e in combinations(t, 2))]
    return torch.tensor(sorted(faces))


def _normals(points: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals (478, 3), outwards: away from the middle of the head behind the face."""
    corners = points[triangles]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    width = (points[:, :2].amax(0) - points[:, :2].amin(0)).max()
    inside = points[:468].mean(0)
    # The head's middle: half a face behind the mean point, along the mean direction of the surface.
    axis = _forward(points)
    inside = inside - 0.5 * width * axis
    outward = ((corners.mean(1) - inside) * normal).sum(-1, keepdim=True)
    normal = torch.where(outward < 0, -normal, normal)
    sums = torch.zeros(N_POINTS, 3, dtype=points.dtype)
    sums.index_add_(0, triangles.flatten(), normal.repeat_interleave(3, 0))
    return sums / sums.norm(dim=-1, keepdim=True).clamp_min(1e-9)


def _forward(points: Tensor) -> Tensor:
    """Unit vector out of the face: across the line of the temples and from forehead to chin."""
    across = points[454] - points[234]
    down = points[152] - points[10]
    forward = torch.linalg.cross(down, across)  # x right, y down: this is towards -z, the viewer
    return forward / forward.norm().clamp_min(1e-9)


def _occluded(points: Tensor, triangles: Tensor) -> Tensor:
    """Points behind a triangle that they are no corner of, by over 4 % of the face's width."""
    xy, z = points.double()[:, :2].numpy(), points.double()[:, 2].numpy()
    t = triangles.numpy()
    a, b, c = xy[t[:, 0]], xy[t[:, 1]], xy[t[:, 2]]  # (F, 2) each
    area = _cross(b - a, c - a)
    flat = np.abs(area) < 1e-9
    area = np.where(flat, 1.0, area)
    p = xy[:, None]  # (478, 1, 2)
    u = _cross(b - p, c - p) / area  # (478, F)
    v = _cross(c - p, a - p) / area
    w = 1 - u - v
    covers = (u > 0) & (v > 0) & (w > 0) & ~flat
    depth = u * z[t[:, 0]] + v * z[t[:, 1]] + w * z[t[:, 2]]
    margin = 0.04 * float(np.ptp(xy, axis=0).max())
    own = (t[None] == np.arange(N_POINTS)[:, None, None]).any(-1)
    hidden = (covers & ~own & (depth < z[:, None] - margin)).any(1)
    return torch.from_numpy(hidden)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
