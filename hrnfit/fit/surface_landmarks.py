"""Landmark sets on the meshes of a result: where they are, and where on a subdivided mesh."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.model.face_model import LandmarkSet


def subdivided_landmarks(marks: LandmarkSet) -> LandmarkSet:
    """The same points in the four children that `subdivide` makes of each triangle.

    Children of (i, j, k) are (i, c, b), (j, a, c), (k, b, a), (a, b, c) with a opposite i, and so on.
    """
    w = marks.barycentric
    wi, wj, wk = w.unbind(-1)
    children = torch.stack(
        [
            torch.stack([2 * wi - 1, 2 * wj, 2 * wk], -1),
            torch.stack([2 * wj - 1, 2 * wk, 2 * wi], -1),
            torch.stack([2 * wk - 1, 2 * wi, 2 * wj], -1),
            1 - 2 * w,
        ],
        dim=1,
    )  # (L, 4, 3): weights in each child; negative in all but the one that holds the point
    inside = children.amin(-1).argmax(-1)
    picked = children[torch.arange(len(w), device=w.device), inside]
    triangles = torch.where(marks.triangles < 0, marks.triangles, 4 * marks.triangles + inside)
    return replace(marks, triangles=triangles.to(marks.triangles.dtype), barycentric=picked)


def landmark_points(
    vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], marks: LandmarkSet
) -> Float[Tensor, "_ 3"]:
    """Points of a landmark set on a surface, mm; NaN where the set lacks the point."""
    corners = vertices[faces[marks.triangles.long().cpu().clamp_min(0)].long()]
    points = (corners * marks.barycentric.detach().cpu().to(vertices)[..., None]).sum(1)
    return torch.where(marks.triangles.cpu()[:, None] < 0, torch.nan, points)
