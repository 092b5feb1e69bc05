"""Partners of a mesh's vertices on a face that they are being registered to.

A partner is the nearest place with the same orientation, in the part of the face that the vertex belongs
to. There is none where the source ends, where surfaces face apart, or where the mesh stays away: neck,
back of the head, ears, mouth and eyeballs that the source lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.mesh import boundary_loops, vertex_normals
from hrnfit.geometry.nearest import NearestPoints, NearestTriangles
from hrnfit.geometry.registration import Partners
from hrnfit.metrics import Surface
from hrnfit.transfer.face_mesh import FaceMesh
from hrnfit.transfer.folds import folds, grown, without_islands
from hrnfit.transfer.partner_surface import PartnerSurface
from hrnfit.transfer.zones import Zones

FARTHEST = 3.0
"""A registered vertex farther from the source than this has no partner, mm."""

STEEPEST = 0.5
"""Cosine of the angle between normals (60 degrees) from which on two surfaces are not the same."""

AT_BORDER = 0.5
"""A place on the source's border counts only for vertices this near, mm: others lie beyond it."""

FOLD_ROUNDS = 5
"""Times that partners around a fold are given up, each time one ring wider."""

EARLY_REACH = 12.0
"""Distance at which partners lose half of their trust in the first round, mm; later as much as the
stiffness, at least `FARTHEST`."""


Search = Callable[[Float[Tensor, "P 3"]], NearestPoints]


class Matcher:
    """Nearest places of the source for the vertices of the target, part by part."""

    def __init__(self, target: FaceMesh, source: FaceMesh, parts: Zones) -> None:
        self._faces, self._parts = target.faces, parts
        self._source, self._source_faces = source.vertices.double().cpu(), source.faces.cpu()
        self._normals = vertex_normals(self._source, self._source_faces)
        rim = torch.zeros(len(self._source), dtype=torch.bool)
        for loop in boundary_loops(self._source_faces):
            rim[loop.long()] = True
        self._rim = rim
        self._near = [
            NearestTriangles(self._source, self._source_faces, only) if len(only) else None
            for only in parts.triangles
        ]

    def partners(self, x: Float[Tensor, "N 3"], stiffness: float) -> Partners:
        """What `register` asks for."""
        found, known = self._nearest(x)
        cosine, at_border = self._agreement(x, found)
        reach = max(FARTHEST, min(EARLY_REACH, stiffness))
        trust = 1.0 / (1.0 + (found.distance / reach).square())
        # smooth in the angle: a hard threshold flickers from round to round
        trust = trust * ((cosine - STEEPEST) / (1.0 - STEEPEST)).clamp(0.0, 1.0)
        beyond = at_border & (found.distance > AT_BORDER)
        return Partners(found.points, torch.where(known & ~beyond, trust, 0.0))

    def final(
        self, x: Float[Tensor, "N 3"], rest: Float[Tensor, "N 3"], aligned: Float[Tensor, "N 3"]
    ) -> tuple[Int[Tensor, "N"], Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
        """Triangles (-1: none), barycentrics, and the filled surface, of a registered mesh."""
        x = x.double()
        found, known = self._exact(x)
        cosine, at_border = self._agreement(x, found)
        valid = known & (cosine > STEEPEST) & (found.distance < FARTHEST)
        valid &= ~(at_border & (found.distance > AT_BORDER))
        valid = without_islands(self._faces, valid)
        for ring in range(FOLD_ROUNDS):
            filled = PartnerSurface(rest, self._faces, valid, aligned)(found.points)
            folded = folds(self._faces, (x, rest), filled)
            if ring == FOLD_ROUNDS - 1 or not bool(folded.any()):
                break
            valid = valid & ~grown(self._faces, folded, ring)
        triangles = torch.where(valid, found.triangle, -1)
        return triangles, torch.where(valid[:, None], found.barycentric, 0.0), filled

    def _nearest(self, x: Tensor) -> tuple[NearestPoints, Bool[Tensor, "N"]]:
        return self._by_part(x, self._near)

    def _exact(self, x: Tensor) -> tuple[NearestPoints, Bool[Tensor, "N"]]:
        """The same by the exact search: once, at the end."""
        parts = [
            None if not len(only) else _exact_search(self._source, self._source_faces, only)
            for only in self._parts.triangles
        ]
        return self._by_part(x, parts)

    def _by_part(
        self, x: Tensor, searches: Sequence[Search | None]
    ) -> tuple[NearestPoints, Bool[Tensor, "N"]]:
        n = len(x)
        found = NearestPoints(
            torch.zeros(n, dtype=torch.long),
            torch.zeros(n, 3, dtype=torch.float64),
            x.double().clone(),
            torch.full((n,), torch.inf, dtype=torch.float64),
        )
        for part, search in enumerate(searches):
            rows = (self._parts.vertex == part).nonzero()[:, 0]
            if search is None or not len(rows):
                continue
            for all_rows, own in zip(found, search(x[rows]), strict=True):
                all_rows[rows] = own.to(all_rows.dtype)
        return found, torch.isfinite(found.distance)

    def _agreement(
        self, x: Tensor, found: NearestPoints
    ) -> tuple[Float[Tensor, "N"], Bool[Tensor, "N"]]:
        """Cosine between the normals of a vertex and of its place, and whether that lies on the rim."""
        corners = self._source_faces[found.triangle].long()
        there = (self._normals[corners] * found.barycentric[..., None]).sum(1)
        there = torch.nn.functional.normalize(there, dim=1)
        here = vertex_normals(x.double(), self._faces)
        on_rim = (self._rim[corners] | (found.barycentric < 1e-6)).all(1)
        return (here * there).sum(1), on_rim


def _exact_search(
    vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], only: Int[Tensor, "K"]
) -> Search:
    surface = Surface(vertices, faces[only])

    def search(points: Tensor) -> NearestPoints:
        found = surface.nearest(points)
        return NearestPoints(only[found.triangle], found.barycentric, found.points, found.distance)

    return search
