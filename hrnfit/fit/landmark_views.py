"""Landmarks of the views, ready for a landmark fit: undistorted, weighted, with the model's basis.

Nothing is fitted here; the start itself is `initialize.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.landmark import IRISES, LandmarkBasis, contour_metric, spread_weight
from hrnfit.geometry.rotation import rigid_inverse
from hrnfit.model.face_model import FaceModel, LandmarkSet
from hrnfit.observe.facemesh import ibug68_from_mediapipe
from hrnfit.observe.observation import Landmarks, View
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

    def with_basis(self, basis: LandmarkBasis) -> LandmarkView:
        """The same view with other model points, after a contour slid."""
        return replace(self, basis=basis)


def landmark_views(views: Sequence[View], model: FaceModel) -> tuple[LandmarkView, ...]:
    """The views that have landmarks. Raises when none has, or the model lacks their scheme."""
    bases: dict[str, tuple[LandmarkBasis, Tensor]] = {}
    result = []
    for index, view in enumerate(views):
        if view.landmarks is None or not bool((view.landmarks.confidence > 0).any()):
            continue
        marks = _known_to(model, view.landmarks)
        scheme = marks.scheme
        if scheme not in bases:
            bases[scheme] = scheme_basis(model, scheme)
        basis, trust = bases[scheme]
        pixels = view.camera.to(torch.float64).undistort(marks.points.double().cpu())
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
                direction=contour_metric(pixels, scheme),
                basis=basis,
            )
        )
    if not result:
        names = ", ".join(view.name for view in views)
        raise ValueError(
            f"no landmarks in any view ({names}): no face was found; pass landmarks= with 68, 478 "
            "or 5 points per image, or install the detector: pip install 'hrnfit[detect]'"
        )
    return tuple(result)


def _known_to(model: FaceModel, landmarks: Landmarks) -> Landmarks:
    """Dense detections as 68 points on a model without a dense embedding: fewer, and biased by the
    detector, but a start."""
    lacks_dense = "mediapipe478" not in model.landmarks and "ibug68" in model.landmarks
    if landmarks.scheme == "mediapipe478" and lacks_dense:
        return ibug68_from_mediapipe(landmarks)
    return landmarks


def scheme_basis(model: FaceModel, scheme: str) -> tuple[LandmarkBasis, Float[Tensor, "L"]]:
    """Linear basis of a scheme's points on a model, and the trust in each point (0 if missing)."""
    source = "ibug68" if scheme == "five" and "five" not in model.landmarks else scheme
    if source not in model.landmarks:
        known = ", ".join(sorted(model.landmarks)) or "none"
        raise ValueError(
            f"model {model.info.name!r} has no {scheme!r} landmarks (it has: {known}); "
            f"`hrnfit models landmarks {model.info.name}` measures mediapipe478"
        )
    marks = model.landmarks[source]
    basis = point_basis(model, *corners_of(model, marks))
    present = (marks.triangles >= 0).double().cpu()
    trust = present * spread_weight(marks.spread.double().cpu())
    if scheme == "mediapipe478":
        trust[list(IRISES)] = 0.0
    if source != scheme:
        gather = torch.zeros(5, 68, dtype=torch.float64)
        for row, points in enumerate(FIVE_FROM_IBUG):
            gather[row, list(points)] = 1.0 / len(points)
        basis = LandmarkBasis(
            gather @ basis.mean, gather @ basis.identity, gather @ basis.expression
        )
        trust = gather @ trust
    return basis, trust


def corners_of(
    model: FaceModel, marks: LandmarkSet
) -> tuple[Int[Tensor, "L 3"], Float[Tensor, "L 3"]]:
    """Corner vertices and their weights; weight zero where the model has no such point."""
    corners = model.faces[marks.triangles.clamp_min(0).long()].long()
    weights = marks.barycentric.double() * (marks.triangles >= 0)[:, None]
    return corners, weights


def point_basis(
    model: FaceModel, corners: Int[Tensor, "L 3"], weights: Float[Tensor, "L 3"]
) -> LandmarkBasis:
    """Surface points as linear functions of the coefficients (the model linearised at its mean)."""
    n_id, n_exp = model.n_identity, model.n_expression
    device, dtype = corners.device, torch.float32
    mean = model.shape(
        torch.zeros(n_id, device=device, dtype=dtype),
        torch.zeros(n_exp, device=device, dtype=dtype),
    )

    def moved(identity: Tensor, expression: Tensor) -> Tensor:
        vertices = model.shape(identity, expression) - mean
        picked = vertices[:, corners].double() * weights[..., None]
        return picked.sum(-2).cpu()

    eye_id, eye_exp = torch.eye(n_id, device=device), torch.eye(n_exp, device=device)
    return LandmarkBasis(
        mean=(mean[corners].double() * weights[..., None]).sum(-2).cpu(),
        identity=moved(eye_id, eye_id.new_zeros(n_id, n_exp)),
        expression=moved(eye_exp.new_zeros(n_exp, n_id), eye_exp),
    )
