"""Views in which the face ended far from its landmarks are named in a warning, and only those."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hrnfit.fit.assemble import strayed, view_residuals
from hrnfit.fit.scene import Scene
from hrnfit.fit.strayed import STRAYED
from hrnfit.observe.observation import Landmarks
from tests.fit.small_scene import NAMES, truth_scene


def with_landmarks(scene: Scene, view: int, landmarks: Landmarks | None) -> Scene:
    """The scene with other landmarks in one view."""
    views = list(scene.views)
    views[view] = replace(views[view], landmarks=landmarks)
    return replace(scene, views=tuple(views), _windows={})


def marks_of(scene: Scene, view: int = 1) -> Landmarks:
    found = scene.views[view].landmarks
    assert found is not None
    return found


def span(points: Tensor) -> float:
    """Diagonal of the box around points, px."""
    return float((points.amax(0) - points.amin(0)).norm())


def test_the_truth_has_strayed_nowhere():
    scene, state = truth_scene()
    assert strayed(scene, view_residuals(scene, state)) == ()


def test_the_view_whose_landmarks_lie_beside_the_face_is_named():
    scene, state = truth_scene()
    marks = marks_of(scene)
    shift = torch.tensor([0.1 * span(marks.points), 0.0])
    beside = with_landmarks(scene, 1, replace(marks, points=marks.points + shift))
    (warning,) = strayed(beside, view_residuals(beside, state))
    assert warning.startswith(f"view 'cam_1': the face ended {shift[0]:.0f} px from its landmarks")
    assert f"span {span(marks.points):.0f} px" in warning
    assert "leave the view out" in warning


def test_the_limit_is_a_share_of_the_seen_landmarks():
    """A missing point far away widens nothing."""
    scene, _ = truth_scene()
    marks = marks_of(scene)
    points, confidence = marks.points.clone(), marks.confidence.clone()
    points[3], confidence[3] = 1e4, 0.0
    far = with_landmarks(scene, 1, replace(marks, points=points, confidence=confidence))
    limit = STRAYED * span(points[confidence > 0])
    none = {name: {"landmark": 0.0} for name in NAMES}
    assert strayed(far, none | {"cam_1": {"landmark": 0.99 * limit}}) == ()
    assert len(strayed(far, none | {"cam_1": {"landmark": 1.01 * limit}})) == 1


def test_views_without_landmarks_have_none_to_stray_from():
    scene, state = truth_scene()
    marks = marks_of(scene)
    unseen = replace(marks, confidence=torch.zeros_like(marks.confidence))
    for landmarks in (None, unseen):
        without = with_landmarks(scene, 1, landmarks)
        assert strayed(without, view_residuals(without, state)) == ()
    assert strayed(scene, {name: {"photometric": 0.5} for name in NAMES}) == ()
