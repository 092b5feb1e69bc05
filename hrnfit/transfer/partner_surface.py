"""A surface from partners: what has none is filled in, smoothly, and pockets stay inside.

A nostril or a mouth that the source lacks is filled in and must not come out through the skin in front of
it. Partners next to vertices that have none are the least sure ones: they draw, and do not hold.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.filling import Filling
from hrnfit.geometry.mesh import face_normals
from hrnfit.geometry.nearest import NearestTriangles
from hrnfit.transfer.folds import grown

DEPTH = 0.8
"""A vertex that lay inside stays at least this far behind the skin, mm."""

REACH = 15.0
"""Skin farther away than this, mm, is not in front of a pocket."""

BORDER_PULL, POCKET_PULL = 2.0, 3.0
"""How strongly border partners, and places behind the skin, draw; relative to the neighbours. Held, the
border kinked at the corners of the eyes; given up, the corners of the mouth folded."""

ROUNDS = 8


class PartnerSurface:
    """Fills in the vertices of one target that have no partner."""

    def __init__(
        self,
        rest: Float[Tensor, "N 3"],
        faces: Int[Tensor, "F 3"],
        valid: Bool[Tensor, "N"],
        aligned: Float[Tensor, "N 3"],
    ) -> None:
        """rest: shape that offsets are measured from, mm. aligned: the undeformed target, which says what
        lies inside."""
        self._faces, self._valid = faces, valid
        firm = valid & ~grown(faces, ~valid, 1)
        self._soft = torch.where(valid & ~firm, BORDER_PULL, 0.0).double()
        self._filling = Filling(rest, faces, firm if bool(firm.any()) else valid, self._soft)
        self._skin = valid[faces.long()].all(1).nonzero()[:, 0]
        self._free = (~valid).nonzero()[:, 0]
        edge = torch.zeros(len(valid), dtype=torch.bool)
        edge[faces.long()[~valid[faces.long()].all(1)].flatten()] = True
        self._edge = edge
        self._pocket = torch.zeros(len(self._free), dtype=torch.bool)
        if len(self._free) and len(self._skin):
            was, _, counted = self._height(aligned.double())
            self._pocket = counted & (was < -DEPTH)

    def __call__(
        self, partners: Float[Tensor, "N 3"], rest: Float[Tensor, "N 3"] | None = None
    ) -> Float[Tensor, "N 3"]:
        """All vertices. rest: another shape that comes close; what has no partner follows it."""
        places = partners.double().clone()
        filled, pull = self._filling(places, rest), self._soft.clone()
        for _ in range(ROUNDS if bool(self._pocket.any()) else 0):
            height, foot, counted = self._height(filled)
            out = self._pocket & counted & (height > -DEPTH)
            if not bool(out.any()):
                break
            places[self._free[out]], pull[self._free[out]] = foot[out], POCKET_PULL
            filled = self._filling(places, rest, pull)
        return filled

    def _height(
        self, x: Float[Tensor, "N 3"]
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M 3"], Bool[Tensor, "M"]]:
        """Height of the free vertices over the skin, the place behind it, and whether skin is near and the
        nearest of it is not its edge."""
        asked, faces = x[self._free], self._faces
        found = NearestTriangles(x, faces, self._skin)(asked)
        normal = torch.nn.functional.normalize(face_normals(x, faces[found.triangle]), dim=1)
        height = ((asked - found.points) * normal).sum(1)
        corners = faces[found.triangle].long()
        at_edge = (self._edge[corners] & (found.barycentric > 1e-6)).any(1)
        behind = found.points - 1.5 * DEPTH * normal
        return height, behind, ~at_edge & (found.distance < REACH)
