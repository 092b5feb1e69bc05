"""Faults of a projected mesh: triangles turned over or crushed, and single hits of another part."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.mesh import face_normals

TURNED = 0.5
"""Cosine of the angle (60 degrees) by which a triangle may turn."""

CRUSHED = 0.1
"""A triangle must keep this share of its area."""


def folds(
    faces: Int[Tensor, "F 3"],
    before: tuple[Float[Tensor, "N 3"], ...],
    after: Float[Tensor, "N 3"],
) -> Bool[Tensor, "N"]:
    """Corners of triangles that were turned over or crushed, compared with all earlier shapes."""
    bad = torch.ones(len(faces), dtype=torch.bool)
    new = face_normals(after.double(), faces)
    for shape in before:
        old = face_normals(shape.double(), faces)
        sizes = old.norm(dim=1) * new.norm(dim=1)
        cosine = (old * new).sum(1) / sizes.clamp_min(1e-30)
        growth = new.norm(dim=1) / old.norm(dim=1).clamp_min(1e-30)
        bad &= (cosine < TURNED) | (growth < CRUSHED)
    vertices = torch.zeros(len(after), dtype=torch.bool)
    vertices[faces.long()[bad].flatten()] = True
    return vertices


def grown(faces: Int[Tensor, "F 3"], mask: Bool[Tensor, "N"], rings: int) -> Bool[Tensor, "N"]:
    """The mask and its neighbours up to some rings away."""
    for _ in range(rings):
        touched = mask[faces.long()].any(1)
        mask = mask.clone()
        mask[faces.long()[touched].flatten()] = True
    return mask


def without_islands(
    faces: Int[Tensor, "F 3"], valid: Bool[Tensor, "N"], rounds: int = 3
) -> Bool[Tensor, "N"]:
    """`valid` less vertices most of whose neighbours are not: single hits of another part."""
    index = faces.long()
    corners = torch.cat([index, index[:, [1, 2, 0]], index[:, [2, 0, 1]]])
    kept = valid.clone()
    for _ in range(rounds):
        sums = torch.zeros(2, len(kept), dtype=torch.float64)
        for k in (1, 2):
            sums[0].index_add_(0, corners[:, 0], kept[corners[:, k]].double())
            sums[1].index_add_(0, corners[:, 0], torch.ones(len(corners), dtype=torch.float64))
        kept = kept & (sums[0] >= 0.5 * sums[1])
    return kept
