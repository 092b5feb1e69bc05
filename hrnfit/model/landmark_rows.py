"""Landmarks of a model as sparse rows over its vertices; constants of the model."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.kept import kept_with
from hrnfit.model.face_model import FaceModel, LandmarkSet


def landmark_rows(model: FaceModel, scheme: str) -> tuple[Int[Tensor, "L 3"], Float[Tensor, "L 3"]]:
    """Vertices and weights of each landmark; of missing ones the middle of the first triangle."""
    marks, faces = model.landmarks[scheme], model.faces
    # of these weights with these triangles: a model in another precision, or with other vertices, may share the rest
    key = ("rows", id(marks.triangles), id(faces))
    held = kept_with(
        marks.barycentric, key, lambda: (_rows(marks, faces), marks.triangles, faces)
    )  # what is named by its `id` is held, so that nothing else gets it
    return held[0]


def _rows(marks: LandmarkSet, faces: Tensor) -> tuple[Tensor, Tensor]:
    corners = faces.long()[marks.triangles.long().clamp_min(0)]
    # missing points have no weights, and the world's origin may lie in a camera's own plane
    return corners, torch.where(marks.triangles[:, None] < 0, 1.0 / 3.0, marks.barycentric)
