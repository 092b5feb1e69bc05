"""What a registration needs of a face: one neutral surface, its landmarks and its regions.

A morphable model gives its mean; a studio's template is such a face as it stands.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.model.face_model import FaceModel, LandmarkSet


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """A neutral face as a triangle mesh."""

    name: str
    vertices: Float[Tensor, "N 3"]
    """mm, or the file's own unit for a template; any frame."""
    faces: Int[Tensor, "F 3"]
    """Counter-clockwise from outside."""
    uv: Float[Tensor, "Nuv 2"] | None
    """Origin top-left, v down."""
    uv_faces: Int[Tensor, "F 3"] | None
    landmarks: dict[str, LandmarkSet]
    """By scheme: `ibug68`, `mediapipe478`."""
    regions: dict[str, Bool[Tensor, "N"]] = field(default_factory=dict)

    def key(self) -> str:
        """Hash of all that a registration reads."""
        digest = hashlib.sha256()
        parts = [self.faces.int(), self.vertices.float()]
        for scheme in sorted(self.landmarks):
            digest.update(scheme.encode())
            marks = self.landmarks[scheme]
            parts += [marks.triangles.int(), marks.barycentric.float(), marks.spread.float()]
        for name in sorted(self.regions):
            digest.update(name.encode())
            parts.append(self.regions[name])
        for part in parts:
            array = part.detach().cpu().contiguous().numpy()
            digest.update(str(array.shape).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:16]


def mean_face(model: FaceModel) -> FaceMesh:
    """The neutral mean of a morphable model."""
    host = model.to("cpu")
    zero = torch.zeros(host.n_identity), torch.zeros(host.n_expression)
    return FaceMesh(
        name=host.info.name,
        vertices=host.shape(*zero).detach(),
        faces=host.faces,
        uv=host.uv,
        uv_faces=host.uv_faces,
        landmarks=host.landmarks,
        regions=host.regions,
    )
