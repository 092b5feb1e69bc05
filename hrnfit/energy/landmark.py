"""Landmark energy: detected points against the model's, in mm at the face, robust, sliding contour.

A residual is the image offset expressed in mm at the face's depth, divided by 2 mm. Sliding points
(the jaw line, the face oval) are compared across the contour only: along it, where the detector
put them says nothing. `LandmarkBlock` is the same energy with hand-written Jacobians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.energy.contour import mm_per_pixel
from hrnfit.energy.kernel import robust_scale
from hrnfit.energy.term import Residuals
from hrnfit.geometry.kept import kept_for_good
from hrnfit.geometry.rotation import rotation_exp, rotation_with_jacobian, skew
from hrnfit.observe.observation import WorkingViews

if TYPE_CHECKING:
    from hrnfit.prediction import Prediction
else:
    Prediction = Any  # structural at run time, as in `term.py`

VISIBLY_WRONG = 2.0
"""Landmark error that a person sees on an overlay, mm at the face."""

SLIDE = 0.15
"""Fraction of a contour point's error along the contour that is kept, so the point stays bounded."""

IBUG_JAW = tuple(range(17))
"""Jaw line of the 68 points, subject's right to left."""

FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""Face oval of the MediaPipe mesh, a closed ring (points named in its published topology)."""

IRISES = tuple(range(468, 478))
"""MediaPipe iris points: they follow the gaze, which the model has not."""

CONTOURS: dict[str, tuple[tuple[int, ...], bool]] = {
    "ibug68": (IBUG_JAW, False),
    "mediapipe478": (FACE_OVAL, True),
}
"""Ring of contour points per scheme, and whether it closes."""


def contour_metric(
    points: Float[Tensor, "*B L 2"], scheme: str, slide: float = SLIDE
) -> Float[Tensor, "*B L 2 2"]:
    """Matrix per point that keeps errors across the contour and `slide` of those along it.

    The direction is that of the detected contour itself (central difference over its neighbours);
    points off the contour get the identity.
    """
    eye = torch.eye(2, dtype=points.dtype, device=points.device)
    metric = eye.expand(*points.shape[:-1], 2, 2).clone()
    if scheme not in CONTOURS:
        return metric
    ring, closed = CONTOURS[scheme]
    index = _ring(ring, points.device)
    along = points[..., index, :]
    if closed:
        tangent = along.roll(-1, -2) - along.roll(1, -2)
    else:
        ends = (along[..., 1:2, :] - along[..., :1, :], along[..., -1:, :] - along[..., -2:-1, :])
        tangent = torch.cat([ends[0], along[..., 2:, :] - along[..., :-2, :], ends[1]], -2)
    tangent = tangent / tangent.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    outer = tangent[..., :, None] * tangent[..., None, :]
    metric[..., index, :, :] = eye - (1.0 - slide) * outer
    return metric


@kept_for_good
def _ring(ring: tuple[int, ...], device: torch.device) -> Int[Tensor, "C"]:
    """Indices on a device, copied there once: a recorded computation cannot."""
    return torch.tensor(ring, device=device)


def slide_contour(
    candidates: Float[Tensor, "*B C K 3"], valid: Bool[Tensor, "C K"]
) -> Int[Tensor, "*B C"]:
    """Candidate of each contour point that lies on the silhouette of a view.

    `candidates` are in the camera frame, mm. On the silhouette is the candidate farthest, in the
    image, from the middle of all candidates, measured along the direction in which its own row
    points away from that middle.
    """
    image = candidates[..., :2] / candidates[..., 2:].clamp_min(1e-6)
    mask = valid.to(image.dtype)[..., None]
    centre = (image * mask).sum((-3, -2)) / mask.sum((-3, -2))
    offset = image - centre[..., None, None, :]
    row = (offset * mask).sum(-2) / mask.sum(-2).clamp_min(1.0)
    outward = row / row.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    extent = (offset * outward[..., None, :]).sum(-1)
    return extent.masked_fill(~valid, -torch.inf).argmax(-1)


def landmark_residuals(
    predicted: Float[Tensor, "V L 2"],
    observed: Float[Tensor, "V L 2"],
    confidence: Float[Tensor, "V L"],
    mm_per_px: Float[Tensor, "V"],
    spread: Float[Tensor, "L"],
    scheme: str,
) -> Residuals:
    """One residual per point: its weighted error length over `VISIBLY_WRONG`, never below zero.

    Validity is the confidence, lowered by the detector's own spread on this model (mm).
    """
    offset = (predicted - observed) * mm_per_px[:, None, None] / VISIBLY_WRONG
    offset = (contour_metric(observed, scheme) @ offset[..., None]).squeeze(-1)
    # 1e-6 of visibly wrong: keeps the gradient finite at the exact optimum
    length = (offset.square().sum(-1) + 1e-12).sqrt()
    return Residuals(length, (confidence * spread_weight(spread)).detach())


def spread_weight(spread: Float[Tensor, "*B L"]) -> Float[Tensor, "*B L"]:
    """Trust in a point whose detections scatter by `spread` mm on the model: 1 / (1 + (s / 2)^2)."""
    return 1.0 / (1.0 + (spread / VISIBLY_WRONG).square())


@dataclass(frozen=True)
class LandmarkTerm:
    """Landmarks of one scheme in all views, as a term of a stage."""

    scheme: str = "mediapipe478"
    """Scheme of the detections; the model must know it."""

    @property
    def name(self) -> str:
        return "landmark"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        """(V, L) residuals; nothing is rasterised."""
        predicted = prediction.landmark_points(self.scheme)
        marks = prediction.model.landmarks[self.scheme]
        spread, present = marks.spread.to(predicted), marks.triangles >= 0
        return landmark_residuals(
            predicted,
            views.landmarks,
            views.landmark_confidence * present,
            mm_per_pixel(prediction, views)[:, 0],
            spread,
            self.scheme,
        )


@dataclass(frozen=True)
class LandmarkBasis:
    """Landmarks as linear functions of the coefficients, head frame, mm."""

    mean: Float[Tensor, "L 3"]
    identity: Float[Tensor, "I L 3"]
    expression: Float[Tensor, "E L 3"]

    def points(
        self, identity: Float[Tensor, "*B I"], expression: Float[Tensor, "*B E"]
    ) -> Float[Tensor, "*B L 3"]:
        """Points of given coefficients."""
        moved = torch.tensordot(identity, self.identity, 1)
        return self.mean + moved + torch.tensordot(expression, self.expression, 1)


@dataclass(frozen=True)
class LandmarkBlock:
    """Landmarks of one view as a least-squares block (`solve/block.py`) with analytic Jacobians.

    Reads identity, expression, pose tangent and log focal factor, in this order.
    """

    slots: tuple[tuple[str, int | None], ...]
    basis: LandmarkBasis
    pose_reference: Float[Tensor, "4 4"]
    """T_world_head at zero tangent."""
    T_cam_world: Float[Tensor, "4 4"]
    K: Float[Tensor, "3 3"]
    """Pinhole of the undistorted points, before the focal factor."""
    pixels: Float[Tensor, "L 2"]
    """Detections, undistorted."""
    metric: Float[Tensor, "L 2 2"]
    """Turns an offset in px into the dimensionless residual of a point."""
    weight: Float[Tensor, "L"]
    """Weight of each point in the energy."""
    kernel: str = "geman_mcclure"

    def residual(self, *values: Float[Tensor, "*B _"]) -> Float[Tensor, "*B m"]:
        """Robust residuals, x and y of each point."""
        raw, _ = self._raw(self._camera_points(*values[:3])[1], values[3])
        g, _ = robust_scale(raw.square().sum(-1), self.kernel)
        return ((g * self.weight.sqrt())[..., None] * raw).flatten(-2)

    def linearize(
        self, *values: Float[Tensor, "*B _"]
    ) -> tuple[Float[Tensor, "*B m"], tuple[Float[Tensor, "*B m _"], ...]]:
        """Residuals and Jacobians for identity, expression, pose and log focal."""
        R, turn = rotation_with_jacobian(values[2][..., :3])
        R_head = R @ self.pose_reference[:3, :3]
        turned, x_cam = self._placed(values[0], values[1], values[2], R_head)
        raw, projected = self._raw(x_cam, values[3])
        g, a = robust_scale(raw.square().sum(-1), self.kernel)
        root = self.weight.sqrt()
        scale = (a * root)[..., None, None] * self.metric
        D = scale @ self._projection_jacobian(x_cam, values[3])  # (*B, L, 2, 3)
        R_cam = self.T_cam_world[:3, :3]
        D_world = D @ R_cam
        D_head = D_world @ R_head[..., None, :, :]
        by_rotation = -D_world @ skew(turned) @ turn[..., None, :, :]
        by_focal = scale @ (projected - self.K[:2, 2])[..., None]
        jacobians = (
            torch.einsum("...lij,klj->...lik", D_head, self.basis.identity),
            torch.einsum("...lij,klj->...lik", D_head, self.basis.expression),
            torch.cat([by_rotation, D_world], -1),
            by_focal,
        )
        residual = ((g * root)[..., None] * raw).flatten(-2)
        return residual, tuple(J.flatten(-3, -2) for J in jacobians)

    def error_mm(self, *values: Float[Tensor, "*B _"]) -> Float[Tensor, "*B L"]:
        """Error length per point before robustness and weights, mm at the face."""
        raw, _ = self._raw(self._camera_points(*values[:3])[1], values[3])
        return raw.norm(dim=-1) * VISIBLY_WRONG

    def _camera_points(
        self, identity: Tensor, expression: Tensor, pose: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points turned into the world about the head's origin, and in the camera frame."""
        R_head = rotation_exp(pose[..., :3]) @ self.pose_reference[:3, :3]
        return self._placed(identity, expression, pose, R_head)

    def _placed(
        self, identity: Tensor, expression: Tensor, pose: Tensor, R_head: Tensor
    ) -> tuple[Tensor, Tensor]:
        turned = self.basis.points(identity, expression) @ R_head.mT
        x_world = turned + (self.pose_reference[:3, 3] + pose[..., 3:])[..., None, :]
        return turned, x_world @ self.T_cam_world[:3, :3].mT + self.T_cam_world[:3, 3]

    def _raw(self, x_cam: Tensor, log_focal: Tensor) -> tuple[Tensor, Tensor]:
        """Dimensionless offsets before robustness, and the projected pixels."""
        # a point at or behind the camera is drawn at 1 mm: far off, so the step is refused
        xy = x_cam[..., :2] / x_cam[..., 2:].clamp_min(1.0)
        projected = log_focal.exp()[..., None] * (xy @ self.K[:2, :2].mT) + self.K[:2, 2]
        return (self.metric @ (projected - self.pixels)[..., None]).squeeze(-1), projected

    def _projection_jacobian(self, x_cam: Tensor, log_focal: Tensor) -> Tensor:
        """Pixels by camera coordinates, (*B, L, 2, 3)."""
        z = x_cam[..., 2:].clamp_min(1.0)
        xy = x_cam[..., :2] / z
        eye = torch.eye(2, dtype=z.dtype, device=z.device).expand(*xy.shape[:-1], 2, 2)
        by_point = torch.cat([eye, -xy[..., None]], -1) / z[..., None]
        return log_focal.exp()[..., None, None] * (self.K[:2, :2] @ by_point)


@dataclass(frozen=True)
class WhitenedLandmarkBlock:
    """A landmark block whose errors are correlated: all offsets together, through one matrix."""

    block: LandmarkBlock
    """Kernel `square`, unit weights, offsets in mm."""
    whitening: Float[Tensor, "m m"]
    """Inverse of a square root of the covariance of the errors, x and y of the points interleaved."""

    @property
    def slots(self) -> tuple[tuple[str, int | None], ...]:
        return self.block.slots

    def residual(self, *values: Float[Tensor, "*B _"]) -> Float[Tensor, "*B m"]:
        """Whitened offsets."""
        return self.block.residual(*values) @ self.whitening.mT

    def linearize(
        self, *values: Float[Tensor, "*B _"]
    ) -> tuple[Float[Tensor, "*B m"], tuple[Float[Tensor, "*B m _"], ...]]:
        """Whitened offsets and Jacobians."""
        residual, jacobians = self.block.linearize(*values)
        return residual @ self.whitening.mT, tuple(self.whitening @ J for J in jacobians)

    def error_mm(self, *values: Float[Tensor, "*B _"]) -> Float[Tensor, "*B L"]:
        """Error length per point, mm at the face."""
        return self.block.error_mm(*values) / VISIBLY_WRONG
