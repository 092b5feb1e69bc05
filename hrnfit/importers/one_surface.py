"""From any triangle mesh of a head to one surface with a chart: what carries the landmarks is kept.

Models bring eyeballs, teeth and mouth bags as further parts, heads that end at the neck, faces that
are wound inwards, and vertices at which two sheets touch. A fit needs one surface, a manifold, wound
outwards, in one chart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.mesh import face_normals
from hrnfit.geometry.seams import component_of, open_chart, tear
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.ict import face_density

NOSE_TIP = 30


@dataclass(frozen=True)
class Surface:
    """A surface cut out of a mesh."""

    kept: Int[np.ndarray, "M"]
    """The mesh's vertex that each vertex is; one at which sheets touched comes once per sheet."""
    faces: Int[Tensor, "F 3"]
    """Counter-clockwise from outside, int32."""
    marks: Int[np.ndarray, "68"]
    uv: Float[Tensor, "Nuv 2"]
    uv_faces: Int[Tensor, "F 3"]


def one_surface(
    mean: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], marks: Int[np.ndarray, "68"]
) -> Surface:
    """The part with the nose tip, with a chart. `mean`: mm, y up, z out of the face.

    Raises ModelFormatError when a landmark lies on another part, or the surface has no chart.
    """
    check_places(mean)
    kept, compact, found = _part_with_marks(faces, len(mean), marks)
    points = torch.from_numpy(mean[kept].astype(np.float32))
    nose = points[found[NOSE_TIP]]
    outward = _wound_outwards(points, compact, nose)
    try:
        uv, uv_faces = open_chart(points, outward, face_density(points, nose))
    except ValueError as error:
        raise ModelFormatError(str(error)) from error
    return Surface(kept, outward, found, uv, uv_faces)


def check_places(mean: Float[np.ndarray, "N 3"]) -> None:
    """Raise ModelFormatError when a vertex is nowhere."""
    if not np.isfinite(mean).all():
        raise ModelFormatError(f"mean: {int((~np.isfinite(mean)).sum())} numbers are not finite")


def _part_with_marks(
    faces: Int[np.ndarray, "F 3"], n: int, marks: Int[np.ndarray, "68"]
) -> tuple[Int[np.ndarray, "M"], Int[Tensor, "G 3"], Int[np.ndarray, "68"]]:
    """Vertices, triangles and landmarks of the part with the nose tip, numbered anew."""
    triangles = torch.from_numpy(np.ascontiguousarray(faces, dtype=np.int64))
    torn = tear(triangles[(triangles != triangles.roll(1, dims=1)).all(dim=1)], n)
    part = torn.faces[component_of(torn.faces, len(torn.origin), int(marks[NOSE_TIP]))].numpy()
    used, compact = np.unique(part, return_inverse=True)
    kept = torn.origin.numpy()[used]
    place = np.full(n, -1)
    place[kept[::-1]] = np.arange(len(kept))[::-1]
    found = place[marks]
    if (found < 0).any():
        raise ModelFormatError(
            f"landmarks: iBUG points {np.flatnonzero(found < 0).tolist()} lie on another part of the "
            "mesh than the nose tip, or on no triangle; give others in a landmarks68.txt"
        )
    return kept, torch.from_numpy(compact.reshape(-1, 3).astype(np.int32)), found


def _wound_outwards(
    points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], nose: Float[Tensor, "3"]
) -> Int[Tensor, "F 3"]:
    """The triangles, turned if those around the nose look into the head."""
    near = (points[faces.long()].mean(dim=1) - nose).norm(dim=1) < 40.0
    if float(face_normals(points, faces)[near, 2].sum()) >= 0.0:
        return faces
    return faces.flip(1)
