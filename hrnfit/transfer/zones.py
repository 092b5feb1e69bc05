"""Which parts of two faces may meet: an upper lip no lower lip, an eyeball no lid.

Lips that touch are nearer to each other than to their partners on another face. The 68 landmarks tell
them apart: what is much nearer to the upper lip's points along the surface is above the mouth slit.
Eyeballs are told by the region `eyes`, inner parts that only one face has by their regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from hrnfit.geometry.mesh import boundary_loops, edges
from hrnfit.model.eye_caps import eye_openings
from hrnfit.model.linear import landmark_positions
from hrnfit.model.lip_landmarks import IBUG_LOWER, IBUG_UPPER
from hrnfit.transfer.face_mesh import FaceMesh

CLEARLY = 6.0
"""Difference of the ways to both lips, mm, from which on skin belongs to one of them."""

INNER = ("mouth_interior", "teeth", "gums", "tongue", "eyeballs")
"""Regions that have a counterpart only where the other face has the same region."""

ANY, UPPER, LOWER, EYE, INSIDE = range(5)


@dataclass(frozen=True)
class Zones:
    """Part of every vertex of the target, and the source's triangles that each part may meet."""

    vertex: Int[Tensor, "N"]
    triangles: tuple[Int[Tensor, "_"], ...]
    """By part: indices of triangles, empty where the source has none."""


def zones(target: FaceMesh, source: FaceMesh, scale: float) -> Zones:
    """Parts of a target and what they may meet; `scale`: mm per unit of the target."""
    part, other = _lips(target, scale), _lips(source, 1.0)
    corner = other[source.faces.long().cpu()]
    open_to_all = torch.ones(len(source.faces), dtype=torch.bool)
    eyes, eye_triangles = _patch(target, "eyes")[0], _patch(source, "eyes")[1]
    part[eyes] = EYE
    if "eyes" in target.regions or _has_eye_holes(target):
        open_to_all &= ~eye_triangles
    inside = torch.zeros_like(open_to_all)
    for name in INNER:
        there = _patch(source, name)[1]
        part[_patch(target, name)[0]] = INSIDE
        open_to_all &= ~there
        inside |= there
    upper, lower = (open_to_all & ~(corner == lip).any(1) for lip in (LOWER, UPPER))
    groups = (open_to_all, upper, lower, eye_triangles, inside)
    return Zones(part, tuple(group.nonzero()[:, 0] for group in groups))


def _has_eye_holes(face: FaceMesh) -> bool:
    """Whether there are openings, not eyeballs, between the lids: then lids meet no eyeball."""
    marks = face.landmarks.get("ibug68")
    if marks is None or bool((marks.triangles[36:48] < 0).any()):
        return False
    points = landmark_positions(face.vertices, face.faces, marks)
    eyes = torch.stack([points[36:42].mean(0), points[42:48].mean(0)])
    holes = [loop.long() for loop in boundary_loops(face.faces)[1:]]
    return bool(eye_openings(face.vertices, holes, eyes))


def _patch(face: FaceMesh, region: str) -> tuple[Bool[Tensor, "N"], Bool[Tensor, "F"]]:
    """Vertices that lie in a region with all triangles around them, and triangles wholly in it.

    A region that names only the rim of a hole has no such triangles to speak of.
    """
    n, faces = len(face.vertices), face.faces.long().cpu()
    inside = face.regions.get(region, torch.zeros(n, dtype=torch.bool)).cpu()
    whole = inside[faces].all(1)
    outside = torch.zeros(n, dtype=torch.bool)
    outside[faces[~whole].flatten()] = True
    vertex = inside & ~outside
    touched = vertex[faces].any(1)
    return vertex, whole & touched


def _lips(face: FaceMesh, scale: float) -> Int[Tensor, "N"]:
    """UPPER or LOWER for vertices clearly nearer to one lip along the surface, else ANY."""
    part = torch.full((len(face.vertices),), ANY)
    marks = face.landmarks.get("ibug68")
    if marks is None:
        return part
    ways = []
    for points in (IBUG_UPPER, IBUG_LOWER):
        known = [p for p in points if int(marks.triangles[p]) >= 0]
        if not known:
            return part
        heaviest = marks.barycentric[known].argmax(1, keepdim=True)
        corners = face.faces[marks.triangles[known].long()].long().gather(1, heaviest)[:, 0]
        ways.append(scale * _ways(face, corners))
    apart = torch.nan_to_num(ways[1] - ways[0])
    part[apart > CLEARLY] = UPPER
    part[apart < -CLEARLY] = LOWER
    return part


def _ways(face: FaceMesh, start: Int[Tensor, "K"]) -> Float[Tensor, "N"]:
    """Length of the shortest way along edges from any of the start vertices; infinite where there is
    none."""
    pairs = edges(face.faces).long().cpu()
    ends = face.vertices.double().cpu()[pairs]
    length = (ends[:, 0] - ends[:, 1]).norm(dim=1).clamp_min(1e-9).numpy()
    n = len(face.vertices)
    graph = sp.csr_array((length, tuple(pairs.numpy().T)), shape=(n, n))
    found = dijkstra(graph, directed=False, indices=start.cpu().numpy(), min_only=True)
    return torch.from_numpy(np.asarray(found))
