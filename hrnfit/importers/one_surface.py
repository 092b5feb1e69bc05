"""From any triangle mesh of a head to one surface with a chart: what carries the landmarks is kept.

Models bring eyeballs, teeth and mouth bags as further parts, heads that end at the neck, faces that
are wound inwards, and vertices at which two sheets touch. A fit needs one surface, a manifold, wound
outwards, in one chart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from hrnfit.geometry.mesh import face_normals
from hrnfit.geometry.seams import component_of, open_chart, tear
from hrnfit.model.face_model import LandmarkSet
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.ict import face_density, vertex_landmarks

NOSE_TIP = 30

JAW = 17
"""Number of iBUG points that may be missing, the first ones: a mask of the face may end before the ears."""


@dataclass(frozen=True)
class Surface:
    """A surface cut out of a mesh."""

    kept: Int[np.ndarray, "M"]
    """The mesh's vertex that each vertex is; one at which sheets touched comes once per sheet."""
    triangles: Int[np.ndarray, "F"]
    """The mesh's triangle that each triangle is."""
    faces: Int[Tensor, "F 3"]
    """Counter-clockwise from outside, int32."""
    turned: bool
    """Whether the mesh's triangles are wound the other way."""
    marks: Int[np.ndarray, "68"]
    """Vertices of the iBUG points; the nearest one where a point lies on no vertex kept."""
    present: Bool[np.ndarray, "68"]
    """False where it does."""

    def landmarks(self) -> LandmarkSet:
        """The iBUG points that are present."""
        found = vertex_landmarks(torch.from_numpy(self.marks), self.faces)
        there = torch.from_numpy(self.present)
        return replace(found, triangles=torch.where(there, found.triangles, -1))


def one_surface(
    mean: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], marks: Int[np.ndarray, "68"]
) -> Surface:
    """The part with the nose tip. `mean`: mm, y up, z out of the face.

    Raises ModelFormatError when a landmark, but one of the jaw, lies on another part.
    """
    if not np.isfinite(mean).all():
        raise ModelFormatError(f"mean: {int((~np.isfinite(mean)).sum())} numbers are not finite")
    n = len(mean)
    sound = np.flatnonzero((faces != np.roll(faces, 1, axis=1)).all(axis=1))
    torn = tear(torch.from_numpy(np.ascontiguousarray(faces[sound], dtype=np.int64)), n)
    part = component_of(torn.faces, len(torn.origin), int(marks[NOSE_TIP])).numpy()
    used, compact = np.unique(torn.faces.numpy()[part], return_inverse=True)
    kept = torn.origin.numpy()[used]
    place = np.full(n, -1)
    place[kept[::-1]] = np.arange(len(kept))[::-1]
    present = place[marks] >= 0
    if not present[JAW:].all():
        raise ModelFormatError(
            f"landmarks: iBUG points {np.flatnonzero(~present).tolist()} lie on another part of the "
            "mesh than the nose tip, or on no triangle; give others in a landmarks68.txt"
        )
    nearest = KDTree(mean[kept]).query(mean[marks])[1]
    points = torch.from_numpy(mean[kept].astype(np.float32))
    found = np.where(present, place[marks], nearest)
    triangles = torch.from_numpy(compact.reshape(-1, 3).astype(np.int32))
    turned = _looks_inwards(points, triangles, points[found[NOSE_TIP]])
    outward = triangles.flip(1) if turned else triangles
    return Surface(kept, sound[part], outward, turned, found, present)


def chart_of(
    surface: Surface, mean: Float[np.ndarray, "N 3"]
) -> tuple[Float[Tensor, "Nuv 2"], Int[Tensor, "F 3"]]:
    """A chart of the surface, finest at the face. `mean`: the whole mesh, mm.

    Raises ModelFormatError when the surface has handles, or three triangles at an edge.
    """
    points = torch.from_numpy(mean[surface.kept].astype(np.float32))
    density = face_density(points, points[surface.marks[NOSE_TIP]])
    try:
        return open_chart(points, surface.faces, density)
    except ValueError as error:
        raise ModelFormatError(str(error)) from error


def _looks_inwards(
    points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], nose: Float[Tensor, "3"]
) -> bool:
    """Whether the normals around the nose point into the head."""
    near = (points[faces.long()].mean(dim=1) - nose).norm(dim=1) < 40.0
    return float(face_normals(points, faces)[near, 2].sum()) < 0.0
