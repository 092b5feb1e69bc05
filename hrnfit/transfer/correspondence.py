"""For every vertex of a target face the place on a source face that it stands for.

The target's neutral surface is aligned to the source's by their shared landmarks, warped, registered
and projected (`pairs.py`, `hrnfit/geometry/registration.py`, `matcher.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.nearest import NearestTriangles
from hrnfit.geometry.registration import Handles, register
from hrnfit.transfer.face_mesh import FaceMesh
from hrnfit.transfer.matcher import Matcher
from hrnfit.transfer.pairs import landmark_pairs
from hrnfit.transfer.zones import zones


@dataclass(frozen=True)
class Correspondence:
    """Places on the source for the N vertices of the target."""

    triangles: Int[Tensor, "N"]
    """Of the source; -1 where the vertex has no partner."""
    barycentric: Float[Tensor, "N 3"]
    """Weights of the triangle's corners; 0 without a partner."""
    registered: Float[Tensor, "N 3"]
    """The target's neutral face on the source's: at the partners, and filled in between and beyond; mm,
    source's head frame."""
    aligned: Float[Tensor, "N 3"]
    """The target's neutral face moved by a similarity alone, mm, source's head frame."""
    scale: Float[Tensor, ""]
    """mm per unit of the target, by the landmarks; about 1 for a face in mm."""

    @property
    def valid(self) -> Bool[Tensor, "N"]:
        """Vertices with a partner."""
        return self.triangles >= 0

    def on(
        self, vertices: Float[Tensor, "Ns 3"], faces: Int[Tensor, "Fs 3"]
    ) -> Float[Tensor, "N 3"]:
        """Partners on a surface with the source's triangles; 0 where there are none."""
        corners = vertices[faces[self.triangles.clamp_min(0).long()].long()]
        return (corners * self.barycentric.to(vertices)[..., None]).sum(1)


def find_correspondence(
    target: FaceMesh, source: FaceMesh, progress: Callable[[float], None] | None = None
) -> Correspondence:
    """Registration of two neutral faces; ValueError when their landmarks are too few or do not agree.

    About 10 s for 18,000 vertices on one core. progress: told the fraction done.
    """
    pairs = landmark_pairs(target, source)
    placed = pairs.alignment()
    aligned = placed.apply(target.vertices.double())
    spline, deviation = pairs.warp(placed)
    start = spline(aligned)
    _check_winding(start, target, source)
    matcher = Matcher(target, source, zones(target, source, float(placed.scale)))
    handles = Handles(pairs.triangles, pairs.barycentric, pairs.source, deviation)
    registered = register(start, target.faces, matcher.partners, handles, progress=progress)
    triangles, weights, filled = matcher.final(registered, start, aligned)
    return Correspondence(
        triangles=triangles.int(),
        barycentric=weights.float(),
        registered=filled.float(),
        aligned=aligned.float(),
        scale=placed.scale.float(),
    )


def _check_winding(start: Float[Tensor, "N 3"], target: FaceMesh, source: FaceMesh) -> None:
    """ValueError when the aligned target faces the other way."""
    found = NearestTriangles(source.vertices, source.faces)(start)
    there = vertex_normals(source.vertices.double(), source.faces)
    there = there[source.faces[found.triangle].long()].mean(1)
    cosine = (vertex_normals(start, target.faces) * there).sum(1)
    if float(cosine[found.distance < 10.0].median()) < 0.0:
        raise ValueError(
            f"'{target.name}': its triangles are wound clockwise seen from outside; flip its normals in "
            "the modelling tool and export it again"
        )
