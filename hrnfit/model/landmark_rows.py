"""Landmarks of a model as sparse rows over its vertices; constants of the model."""

from __future__ import annotations

from collections.abc import MutableMapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.model.face_model import FaceModel

_ROWS: MutableMapping[Tensor, tuple[Tensor, Tensor]] = WeakIdKeyDictionary()
"""By the tensor of a landmark set's triangles."""


def landmark_rows(model: FaceModel, scheme: str) -> tuple[Int[Tensor, "L 3"], Float[Tensor, "L 3"]]:
    """Vertices and weights of each landmark; of missing ones the middle of the first triangle."""
    marks = model.landmarks[scheme]
    if marks.triangles not in _ROWS:
        corners = model.faces.long()[marks.triangles.long().clamp_min(0)]
        # missing points have no weights, and the world's origin may lie in a camera's own plane
        weights = torch.where(marks.triangles[:, None] < 0, 1.0 / 3.0, marks.barycentric)
        _ROWS[marks.triangles] = corners, weights
    return _ROWS[marks.triangles]
