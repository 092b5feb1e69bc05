"""Pockets stay inside: a nostril or mouth that the source lacks is filled in, and must not come out
through the skin in front of it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.filling import Filling
from hrnfit.geometry.mesh import face_normals
from hrnfit.geometry.nearest import NearestTriangles

DEPTH = 0.8
"""A vertex that lay inside stays at least this far behind the skin, mm."""

REACH = 15.0
"""Skin farther away than this, mm, is not in front of a pocket."""

ROUNDS = 8


def tucked(
    filling: Filling,
    given: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    known: Bool[Tensor, "N"],
    before: Float[Tensor, "N 3"],
) -> Float[Tensor, "N 3"]:
    """The filled surface, its pockets behind the known skin wherever they were in `before`."""
    filled = filling(given)
    free = (~known).nonzero()[:, 0]
    skin = known[faces.long()].all(1).nonzero()[:, 0]
    if not len(free) or not len(skin):
        return filled
    was, _, counted = _height(before.double(), faces, skin, known, free)
    pocket = counted & (was < -DEPTH)
    places, pull = filled.clone(), torch.zeros(len(known), dtype=torch.float64)
    for _ in range(ROUNDS):
        height, foot, counted = _height(filled, faces, skin, known, free)
        out = pocket & counted & (height > -DEPTH)
        if not bool(out.any()):
            break
        places[free[out]], pull[free[out]] = foot[out], 3.0
        filled = filling(given, places, pull)
    return filled


def _height(
    x: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    skin: Int[Tensor, "K"],
    known: Bool[Tensor, "N"],
    free: Int[Tensor, "M"],
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M 3"], Bool[Tensor, "M"]]:
    """Height of the free vertices over the skin, the place `DEPTH` behind it, and whether skin is near
    and the nearest of it is not its edge."""
    found = NearestTriangles(x, faces, skin)(x[free])
    normal = torch.nn.functional.normalize(face_normals(x, faces[found.triangle]), dim=1)
    height = ((x[free] - found.points) * normal).sum(1)
    edge = torch.zeros(len(known), dtype=torch.bool)
    edge[faces.long()[~known[faces.long()].all(1)].flatten()] = True
    corners = faces[found.triangle].long()
    at_edge = (edge[corners] & (found.barycentric > 1e-6)).any(1)
    return height, found.points - 1.5 * DEPTH * normal, ~at_edge & (found.distance < REACH)
