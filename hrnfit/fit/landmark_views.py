"""Landmarks of the views, ready for a landmark fit: undistorted, weighted, with the model's basis.

Nothing is fitted here; the start itself is `initialize.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.landmark import IRISES, LandmarkBasis, contour_metric, spread_weight
from hrnfit.fit.model_constants import once
from hrnfit.fit.surface_points import (
    Expansion,
    SurfacePoints,
    corners_of,
    expansion,
    mean_expansion,
)
from hrnfit.geometry.rotation import rigid_inverse
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.facemesh import ibug68_from_mediapipe
from hrnfit.observe.observation import Landmarks, View
from hrnfit.observe.undistorted import undistorted
from hrnfit.solve.solver import Leaves

FIVE_FROM_IBUG = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))
"""Points of the scheme `five` as means of iBUG points: eye centres, nose tip, mouth corners."""

FACE_DIAGONAL = 210.0
"""Diagonal of the box around all landmarks of a face, mm; the first guess of its scale in px."""


@runtime_checkable
class Outline(Protocol):
    """Moves the contour points of a view; `sliding_jaw.py`."""

    def slid(
        self, view: LandmarkView, leaves: Leaves, reference: Float[Tensor, "T 4 4"]
    ) -> LandmarkView: ...

    def carried(self, offsets: Float[Tensor, "N 3"]) -> Outline: ...

    def near(self, face: Expansion) -> Outline: ...


@dataclass(frozen=True)
class LandmarkView:
    """What one view says of its landmarks. float64."""

    index: int
    """Place in the views that were given."""
    name: str
    frame: int
    scheme: str
    camera_known: bool
    K: Float[Tensor, "3 3"]
    T_cam_world: Float[Tensor, "4 4"]
    pixels: Float[Tensor, "L 2"]
    """Undistorted."""
    weight: Float[Tensor, "L"]
    """Confidence times the trust in the point on this model."""
    direction: Float[Tensor, "L 2 2"]
    """Keeps the error across a contour, releases it along; identity off contours."""
    basis: LandmarkBasis
    jaw: Outline | None = None
    """What the jaw points slide on; None where they mark the surface."""
    points: SurfacePoints | None = None
    """Where the landmarks lie on the model; None when their basis holds for good."""

    @property
    def diagonal(self) -> float:
        """Diagonal of the box around the seen landmarks, px."""
        seen = self.pixels[self.weight > 0]
        return float((seen.amax(0) - seen.amin(0)).norm().clamp_min(1e-6))

    @property
    def T_world_cam(self) -> Float[Tensor, "4 4"]:
        return rigid_inverse(self.T_cam_world)

    def slid(self, leaves: Leaves, reference: Float[Tensor, "T 4 4"]) -> LandmarkView:
        """The same view with its jaw on the outline of the face as it stands now."""
        return self if self.jaw is None else self.jaw.slid(self, leaves, reference)

    def near(self, face: Expansion) -> LandmarkView:
        """The same view with its points linear near a face."""
        basis = self.basis if self.points is None else self.points.basis(face)
        return replace(self, basis=basis, jaw=None if self.jaw is None else self.jaw.near(face))

    def carried(self, offsets: Float[Tensor, "N 3"]) -> LandmarkView:
        """The same view with its points where offsets of the model's vertices, mm, carry them."""
        if self.points is None:
            raise ValueError(f"view {self.name!r}: its points have no place on the model")
        moved = replace(self.basis, mean=self.basis.mean + self.points.sample(offsets))
        jaw = None if self.jaw is None else self.jaw.carried(offsets)
        return replace(self, basis=moved, points=self.points.carried(offsets), jaw=jaw)

    def with_basis(self, basis: LandmarkBasis) -> LandmarkView:
        """The same view with other model points, after a contour slid."""
        return replace(self, basis=basis)


def landmark_views(views: Sequence[View], model: FaceModel) -> tuple[LandmarkView, ...]:
    """The views that have landmarks. Raises when none has, or the model lacks their scheme."""
    result, found = [], _found(views, model)
    metrics = _metrics([(marks.scheme, pixels) for _, marks, pixels in found])
    for (index, marks, pixels), metric in zip(found, metrics, strict=True):
        view, scheme = views[index], marks.scheme
        points, basis, trust = scheme_basis(model, scheme)
        result.append(
            LandmarkView(
                index=index,
                name=view.name,
                frame=view.frame,
                scheme=scheme,
                camera_known=view.camera_known,
                K=view.camera.K.double().cpu(),
                T_cam_world=view.camera.T_cam_world.double().cpu(),
                pixels=pixels,
                weight=marks.confidence.double().cpu() * trust,
                direction=metric,
                basis=basis,
                points=points,
            )
        )
    if not result:
        names = ", ".join(view.name for view in views)
        raise ValueError(
            f"no landmarks in any view ({names}): no face was found; pass landmarks= with 68, 478 "
            "or 5 points per image, or install the detector: pip install 'hrnfit[detect]'"
        )
    return tuple(result)


def _found(
    views: Sequence[View], model: FaceModel
) -> list[tuple[int, Landmarks, Float[Tensor, "L 2"]]]:
    """Index, landmarks and their undistorted pixels of the views that have any."""
    found = []
    for index, view in enumerate(views):
        if view.landmarks is None or not bool((view.landmarks.confidence > 0).any()):
            continue
        marks = _known_to(model, view.landmarks)
        found.append((index, marks, undistorted(view.camera, marks.points)))
    return found


def _metrics(points: Sequence[tuple[str, Float[Tensor, "L 2"]]]) -> list[Float[Tensor, "L 2 2"]]:
    """`contour_metric` of every view, those of a scheme at once: 25 operations a view took 1.5 ms."""
    made: dict[int, Tensor] = {}
    for scheme in {scheme for scheme, _ in points}:
        rows = [i for i, (own, _) in enumerate(points) if own == scheme]
        metrics = contour_metric(torch.stack([points[i][1] for i in rows]), scheme)
        made |= dict(zip(rows, metrics, strict=True))
    return [made[i] for i in range(len(points))]


def _known_to(model: FaceModel, landmarks: Landmarks) -> Landmarks:
    """Dense detections as 68 points on a model without a dense embedding: fewer, and biased by the
    detector, but a start."""
    lacks_dense = "mediapipe478" not in model.landmarks and "ibug68" in model.landmarks
    if landmarks.scheme == "mediapipe478" and lacks_dense:
        return ibug68_from_mediapipe(landmarks)
    return landmarks


def scheme_basis(
    model: FaceModel, scheme: str
) -> tuple[SurfacePoints, LandmarkBasis, Float[Tensor, "L"]]:
    """`scheme_points`, and their basis about the mean face; once per model, it takes 8 ms."""

    def made() -> tuple[SurfacePoints, LandmarkBasis, Tensor]:
        points, trust = scheme_points(model, scheme)
        return points, points.basis(mean_expansion(model)), trust

    return once(model, ("landmarks", scheme), made)


def scheme_points(model: FaceModel, scheme: str) -> tuple[SurfacePoints, Float[Tensor, "L"]]:
    """Where a scheme's points lie on a model, and the trust in each (0 if missing)."""
    source = "ibug68" if scheme == "five" and "five" not in model.landmarks else scheme
    if source not in model.landmarks:
        known = ", ".join(sorted(model.landmarks)) or "none"
        raise ValueError(
            f"model {model.info.name!r} has no {scheme!r} landmarks (it has: {known}); "
            f"`hrnfit models landmarks {model.info.name}` measures mediapipe478"
        )
    marks = model.landmarks[source]
    present = (marks.triangles >= 0).double().cpu()
    trust = present * spread_weight(marks.spread.double().cpu())
    if scheme == "mediapipe478":
        trust[list(IRISES)] = 0.0
    corners, weights = corners_of(model, marks)
    if source == scheme:
        return SurfacePoints.of(corners, weights), trust
    gather = torch.zeros(5, 68, dtype=torch.float64)
    for row, points in enumerate(FIVE_FROM_IBUG):
        gather[row, list(points)] = 1.0 / len(points)
    return SurfacePoints.of(corners, weights, gather), gather @ trust


def relinearised(
    views: Sequence[LandmarkView], model: FaceModel, leaves: Leaves
) -> tuple[LandmarkView, ...]:
    """The views with their points linear near the faces that the leaves say. Those of a linear model
    are so already."""
    if model.shape_is_linear:
        return tuple(views)
    faces = {
        frame: expansion(model, leaves["identity"], leaves["expression"][frame])
        for frame in sorted({view.frame for view in views})
    }
    return tuple(view.near(faces[view.frame]) for view in views)
