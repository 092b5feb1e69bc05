"""The skin of an ICT part: face or head, its chart, and the fronts of eyeballs that we make."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.mesh import boundary_loops
from hrnfit.geometry.uv import disk_chart
from hrnfit.model.dense_landmarks import shipped_landmarks
from hrnfit.model.eye_caps import EyeCap, eye_cap, eye_openings
from hrnfit.model.face_model import LandmarkSet
from hrnfit.model.ict_parts import Part

FACE_FAR, HEAD_FAR = 0.55, 0.2
"""Wished texels per mm far from the nose, of a face and of a whole head."""

HEAD_STEPS = 8
"""Stretch corrections of a whole head's chart. Its outer rim is the neck: with the settings of a face
(two, and 0.55) the face gets 0.0012 UV per mm, with these 0.0031; the face alone has 0.0034."""


@dataclass(frozen=True)
class Skin:
    """A mesh of its own: the file's leading vertices, then those of the eyeball fronts."""

    points: Float[Tensor, "S 3"]
    """mm."""
    faces: Int[Tensor, "G 3"]
    caps: tuple[EyeCap, ...]
    marks: Int[Tensor, "68"]
    """Vertices of the iBUG points."""
    uv: Float[Tensor, "S 2"]

    @property
    def given(self) -> int:
        """Vertices of the file; those of the caps follow."""
        return len(self.points) - sum(len(cap.points) for cap in self.caps)


def skin_of(
    points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], marks: Int[Tensor, "68"], part: Part
) -> Skin:
    """The skin with its chart; `points`, `faces`: of face or head alone."""
    caps = [] if part.eyes else eye_caps(points, faces, points[marks])
    every = torch.cat([points, *(cap.points for cap in caps)])
    joined = torch.cat([faces, *(cap.faces for cap in caps)])
    tip = every[marks[30]]
    if part.base == "face":
        # also where the file's eyeballs replace them, the fronts decide how the openings lie
        shape = caps or eye_caps(points, faces, points[marks])
        with_fronts = torch.cat([points, *(cap.points for cap in shape)])
        triangles = torch.cat([faces, *(cap.faces for cap in shape)])
        uv = disk_chart(with_fronts, triangles, face_density(with_fronts, tip))[: len(every)]
    else:
        uv = disk_chart(every, joined, face_density(every, tip, HEAD_FAR), steps=HEAD_STEPS)
    return Skin(every, joined, tuple(caps), marks, uv)


def face_density(
    points: Float[Tensor, "N 3"], nose_tip: Float[Tensor, "3"], far: float = FACE_FAR
) -> Float[Tensor, "N"]:
    """Wished texels per mm: 1 within about 80 mm of the nose tip, `far` away from it."""
    return far + (1.0 - far) * torch.exp(-(((points - nose_tip).norm(dim=1) / 95.0) ** 4))


def eye_caps(
    points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], marks: Float[Tensor, "68 3"]
) -> list[EyeCap]:
    """Eyeball fronts for the holes between the eye corners; none where the eyes are not holes."""
    middles = torch.stack([marks[36:42].mean(dim=0), marks[42:48].mean(dim=0)])
    caps: list[EyeCap] = []
    first = len(points)
    holes = boundary_loops(faces)[1:]  # the longest is the face's own border
    for loop in eye_openings(points, holes, middles):
        caps.append(eye_cap(points, loop, first))
        first += len(caps[-1].points)
    return caps


def vertex_landmarks(vertices: Int[Tensor, "L"], faces: Int[Tensor, "F 3"]) -> LandmarkSet:
    """Landmarks that are vertices, as corners of one of their triangles; spread 0."""
    hits = faces[None].long() == vertices[:, None, None].long()
    triangle = hits.any(dim=2).int().argmax(dim=1)
    row = torch.arange(len(vertices))
    return LandmarkSet(
        triangles=triangle.int(),
        barycentric=hits[row, triangle].float(),
        spread=torch.zeros(len(vertices)),
    )


def face_landmarks(
    points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], marks: Int[Tensor, "68"], count: int
) -> LandmarkSet | None:
    """Dense landmarks that were measured on the face part, on another part that begins with it.

    `count`: vertices of the face part. None where the package has none for its mesh.
    """
    inside = (faces < count).all(dim=1)
    own = faces[inside]
    caps = eye_caps(points[:count], own, points[marks])
    mean = torch.cat([points[:count], *(cap.points for cap in caps)])
    found = shipped_landmarks(mean, torch.cat([own, *(cap.faces for cap in caps)]))
    if found is None:
        return None
    there = (found.triangles >= 0) & (found.triangles < len(own))
    index = inside.nonzero()[:, 0][found.triangles.long().clamp(0, len(own) - 1)]
    return LandmarkSet(
        triangles=torch.where(there, index, -1).int(),
        barycentric=found.barycentric * there[:, None],
        spread=found.spread * there,
    )
