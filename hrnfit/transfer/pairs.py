"""Landmarks that two faces share, and how far each pair may be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.align import Similarity, align_similarity
from hrnfit.geometry.warp import ThinPlateSpline, thin_plate_spline
from hrnfit.model.linear import landmark_positions
from hrnfit.transfer.face_mesh import FaceMesh

SCHEMES = ("ibug68", "mediapipe478")

JAW_DEVIATION, POINT_DEVIATION = 8.0, 2.0
"""mm. The 17 jaw points mark an outline, not a place on the skin; the others differ between models by 1
to 3 mm, by who placed them."""

IRIS = slice(468, 478)
"""Points of the irises turn with the gaze."""

UNLIKE = 9.0
"""Median distance of aligned landmarks, mm, from which on they are not those of a face: 2.4 between the
embedded model and ICT; a mirrored or shuffled set has 20 and more."""

LEAST = 6
"""Pairs for an alignment and a warp."""


@dataclass(frozen=True)
class LandmarkPairs:
    """K points of the target and the same points of the source."""

    triangles: Int[Tensor, "K"]
    """Of the target."""
    barycentric: Float[Tensor, "K 3"]
    target: Float[Tensor, "K 3"]
    """In the target's own frame and unit."""
    source: Float[Tensor, "K 3"]
    """mm, head frame of the source."""
    deviation: Float[Tensor, "K"]
    """mm."""

    def alignment(self) -> Similarity:
        """Target to source, outliers reweighted (Cauchy at the deviation)."""
        weights = self.deviation.square().reciprocal()
        placed = align_similarity(self.target, self.source, weights)
        for _ in range(10):
            off = (placed.apply(self.target) - self.source).norm(dim=1) / self.deviation
            placed = align_similarity(self.target, self.source, weights / (1.0 + off.square()))
        off = (placed.apply(self.target) - self.source).norm(dim=1)[self.deviation < JAW_DEVIATION]
        if len(off) and float(off.median()) > UNLIKE:
            raise ValueError(
                f"landmarks: after alignment half of them lie more than {float(off.median()):.0f} mm from the "
                "same points of the fitted model, which two faces do not; are they in the iBUG order, of "
                "this mesh's vertices counted from 0, and is the mesh not mirrored?"
            )
        return placed

    def warp(self, placed: Similarity) -> tuple[ThinPlateSpline, Float[Tensor, "K"]]:
        """Smooth warp of the aligned target towards the source, and what each pair's deviation turned out
        to be: a point that no smooth warp brings home marks another place, or lies in the mouth."""
        start, deviation = placed.apply(self.target), self.deviation
        for _ in range(5):
            spline = thin_plate_spline(start, self.source, deviation)
            off = (spline(start) - self.source).norm(dim=1) / (2.0 * self.deviation)
            deviation = self.deviation * (1.0 + off.square())
        return spline, deviation


def landmark_pairs(target: FaceMesh, source: FaceMesh) -> LandmarkPairs:
    """Every landmark that both have; ValueError when there are too few."""
    parts = [_pairs(target, source, s) for s in SCHEMES if s in target.landmarks]
    found = [part for part in parts if part is not None]
    count = sum(len(part.triangles) for part in found)
    if count < LEAST:
        raise ValueError(
            f"landmarks: '{target.name}' and '{source.name}' share {count} points, and at least {LEAST} are "
            f"needed (target: {_described(target)}; source: {_described(source)}); for a template give "
            "--landmarks FILE with the 68 iBUG points"
        )
    joined = {
        name: torch.cat([getattr(part, name) for part in found])
        for name in ("triangles", "barycentric", "target", "source", "deviation")
    }
    return LandmarkPairs(**joined)


def _pairs(target: FaceMesh, source: FaceMesh, scheme: str) -> LandmarkPairs | None:
    """Pairs of one scheme."""
    if scheme not in source.landmarks:
        return None
    ours, theirs = target.landmarks[scheme], source.landmarks[scheme]
    if len(ours.triangles) != len(theirs.triangles):
        return None
    both = (ours.triangles >= 0) & (theirs.triangles >= 0)
    deviation = torch.full((len(both),), POINT_DEVIATION, dtype=torch.float64)
    if scheme == "ibug68":
        deviation[:17] = JAW_DEVIATION
    else:
        both[IRIS] = False
        spread = ours.spread.double().square() + theirs.spread.double().square()
        deviation = (deviation.square() + spread).sqrt()
    points = landmark_positions(target.vertices.double(), target.faces, ours)
    places = landmark_positions(source.vertices.double(), source.faces, theirs)
    return LandmarkPairs(
        ours.triangles[both],
        ours.barycentric[both].double(),
        points[both],
        places[both],
        deviation[both],
    )


def _described(face: FaceMesh) -> str:
    known = [s for s in SCHEMES if s in face.landmarks]
    return ", ".join(known) or "none"
