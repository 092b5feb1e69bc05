"""Whether the face still lies where its landmarks are: what undoes a stage, and warns of a result."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.fit.model_constants import once
from hrnfit.fit.scene import Scene
from hrnfit.fit.surface_points import corners_of
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View
from hrnfit.prediction import Prediction
from hrnfit.state import FaceState

STRAYED = 0.06
"""Landmark error over the diagonal of a view's landmarks from which on the result warns: good fits have
0.01 to 0.03."""
LOST = 0.15
"""The same from which on a stage is undone. A calibration that runs away ends at 0.5 and more."""
SIZE = 64
"""Window, px; landmarks are not rasterised, so it hardly matters."""


def landmark_errors(scene: Scene, prediction: Prediction) -> dict[str, float]:
    """Root mean square landmark error of every view that has landmarks, in px of its photograph."""
    windows, boxes = prediction.views, scene.boxes
    scheme = windows.landmark_scheme
    if boxes is None or scheme not in scene.model.landmarks:
        return {}
    offset = prediction.landmark_points(scheme) - windows.landmarks
    known = (scene.model.landmarks[scheme].triangles >= 0).to(offset)
    weight = windows.landmark_confidence * known
    mean = (weight * offset.square().sum(-1)).sum(1) / weight.sum(1).clamp_min(1e-9)
    scale = (boxes[:, 2] - boxes[:, 0]).to(offset) / windows.size
    errors = (mean.sqrt() * scale).tolist()
    named = zip(scene.views, errors, strict=True)
    return {view.name: error for view, error in named if view.landmarks is not None}


def photograph_errors(scene: Scene, state: FaceState) -> dict[str, float]:
    """The same of a state, without windows: in the photographs themselves. One look at the device."""
    marks = scene.photographs.marks
    if marks.scheme not in scene.model.landmarks:
        return {}
    corners, weights = _places(scene.model, marks.scheme)
    world = scene.world(state)[:, corners].to(weights)
    x_world = (world * weights[..., None]).sum(-2)[scene.sharing.frame]
    T = pose_matrix(state.camera.to(weights), scene.photographs.T_cam_world.to(weights))
    x_cam = x_world @ T[:, :3, :3].mT + T[:, None, :3, 3]
    K = scene.photographs.K.to(weights)
    lens = K[:, :2, :2] * state.log_focal.to(weights).exp()[:, None, None]
    pixels = (x_cam[..., :2] / x_cam[..., 2:]) @ lens.mT + K[:, None, :2, 2]
    trust = marks.confidence.to(weights) * weights.any(-1)
    squared = (pixels - marks.points.to(weights)).square().sum(-1)
    mean = (trust * torch.where(trust > 0, squared, 0.0)).sum(1) / trust.sum(1).clamp_min(1e-9)
    named = zip(scene.views, mean.sqrt().tolist(), strict=True)
    return {view.name: error for view, error in named if view.landmarks is not None}


def _places(model: FaceModel, scheme: str) -> tuple[Int[Tensor, "L 3"], Float[Tensor, "L 3"]]:
    """Corner vertices of a scheme's points and their weights in the model's precision."""

    def made() -> tuple[Tensor, Tensor]:
        corners, weights = corners_of(model, model.landmarks[scheme])
        return corners, weights.to(model.uv.dtype)

    return once(model, ("places", scheme), made)


def shares(scene: Scene, errors: Mapping[str, float | None]) -> dict[str, float]:
    """Errors (px) as shares of the extent of each view's landmarks."""
    found: dict[str, float] = {}
    for view in scene.views:
        error, extent = errors.get(view.name), landmark_extent(view)
        if error is not None and extent > 0:
            found[view.name] = error / extent
    return found


def landmark_extent(view: View) -> float:
    """Diagonal of a view's landmarks, px; 0 without any."""
    if view.landmarks is None:
        return 0.0
    points = view.landmarks.points[view.landmarks.confidence > 0]
    return float((points.amax(0) - points.amin(0)).norm()) if len(points) else 0.0


def lost_views(scene: Scene, state: FaceState) -> set[str]:
    """Views in which the face is no longer near its landmarks."""
    with torch.no_grad():
        errors = photograph_errors(scene, state)
    return {name for name, share in shares(scene, errors).items() if not share <= LOST}
