"""A fitted surface in another topology: partners where there are any, the rest filled in."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.fit.levels import subdivided_landmarks
from hrnfit.fit.result import MeshLevel
from hrnfit.model.face_model import LandmarkSet
from hrnfit.transfer.correspondence import Correspondence
from hrnfit.transfer.partner_surface import PartnerSurface


class Carrier:
    """Takes surfaces of one source to one target."""

    def __init__(
        self, correspondence: Correspondence, faces: Int[Tensor, "F 3"], source_faces: int
    ) -> None:
        """faces: of the target. source_faces: number of triangles of the source's model."""
        if not bool(correspondence.valid.any()):
            raise ValueError("the two faces have no surface in common; check the landmarks")
        self.correspondence, self._source_faces = correspondence, source_faces
        self._rest = correspondence.registered.double()
        aligned, valid = correspondence.aligned, correspondence.valid
        self._surface = PartnerSurface(self._rest, faces, valid, aligned)

    def partners(self, mesh: MeshLevel, pose: Float[Tensor, "4 4"]) -> Float[Tensor, "N 3"]:
        """The target's vertices on a surface of the source, in the frame of its head; meaningless where a
        vertex has no partner. pose: T_world_head, mm."""
        ratio = len(mesh.faces) // max(self._source_faces, 1)
        steps = (ratio.bit_length() - 1) // 2  # each subdivision makes four of one
        if ratio < 1 or len(mesh.faces) != self._source_faces * 4**steps:
            raise ValueError(
                f"{mesh.name}: {len(mesh.faces)} triangles, but the model of the fit has "
                f"{self._source_faces}; it was fitted with another model or version"
            )
        marks = LandmarkSet(
            self.correspondence.triangles.long(),
            self.correspondence.barycentric.double(),
            torch.zeros(len(self._rest)),
        )
        for _ in range(steps):
            marks = subdivided_landmarks(marks)
        corners = mesh.vertices.double()[mesh.faces[marks.triangles.clamp_min(0)].long()]
        world = (corners * marks.barycentric[..., None]).sum(1)
        return (world - pose[:3, 3]) @ pose[:3, :3]

    def filled(
        self, partners: Float[Tensor, "N 3"], like: Float[Tensor, "N 3"] | None = None
    ) -> Float[Tensor, "N 3"]:
        """All vertices, head frame. like: a shape of the target that comes close, such as its model's
        fitted one; what has no partner follows it."""
        return self._surface(partners, like)
