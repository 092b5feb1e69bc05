"""Whether the face still lies where its landmarks are: what undoes a stage, and warns of a result."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hrnfit.fit.face_place import landmark_distances
from hrnfit.fit.scene import Scene
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
    scale = scene.photographs.K[:, 0, 0].to(offset) / windows.K[:, 0, 0]
    errors = (mean.sqrt() * scale).tolist()
    named = zip(scene.views, errors, strict=True)
    return {view.name: error for view, error in named if view.landmarks is not None}


def photograph_errors(scene: Scene, state: FaceState) -> dict[str, float]:
    """The same of a state, in the photographs themselves: no window is cut. One look at the device."""
    if scene.photographs.marks.scheme not in scene.model.landmarks:
        return {}
    errors = landmark_distances(scene.model, state, scene.sharing, scene.photographs).tolist()
    named = zip(scene.views, errors, strict=True)
    return {view.name: error for view, error in named if view.landmarks is not None}


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
