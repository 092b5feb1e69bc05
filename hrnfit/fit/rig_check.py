"""A calibrated rig against the faces it sees: rays that do not meet, and faces of another size.

A single camera file can be well formed and still mean something else: metres, camera-to-world
matrices, other axes. Only the landmarks tell. One bad view of several is not an error here: the
start leaves it out (`initialize.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hrnfit.fit.frame_pose import (
    CONTRADICTION,
    calibrated_group,
    disagreement,
    inconsistent_view,
    met_points,
    strangeness,
    triangulated,
)
from hrnfit.fit.landmark_views import LandmarkView
from hrnfit.geometry.align import align_similarity
from hrnfit.geometry.rotation import rigid_inverse

TOLERATED = 10.0
"""Median distance of rays with which a rig is still taken at its word, mm. Measured on a real
detector: 0.1 to 1.7 in a right rig, 13 and more with two wrong cameras."""

FACELIKE = 6.0
"""Mean distance from the mean face, aligned by a similarity, up to which points look like a face, mm:
2.7 to 5.3 in right rigs; two views that meet by chance had 6.8."""

UNITS = {"metres": 1e-3, "centimetres": 1e-1, "decimetres": 1e-2, "inches": 1 / 25.4}
"""Length of 1 mm in the unit."""


def check_rig(views: Sequence[LandmarkView]) -> None:
    """Raise ValueError when the calibrated views of an instant cannot be a rig in mm."""
    for frame in sorted({view.frame for view in views}):
        group = calibrated_group([view for view in views if view.frame == frame])
        if len(group) > 1:
            _check_rays(group)
            _check_size(_consistent(group))


def face_scale(group: Sequence[LandmarkView]) -> float:
    """Size of the triangulated face over that of the mean face; about 1 in a rig in mm."""
    points, weight = met_points(triangulated(group))
    return float(align_similarity(group[0].basis.mean, points, weight).scale)


def _check_rays(group: Sequence[LandmarkView]) -> None:
    if disagreement(group) < CONTRADICTION:
        return
    for what, convert in MISREADINGS.items():
        turned = [replace(view, T_cam_world=convert(view.T_cam_world)) for view in group]
        if disagreement(turned) < CONTRADICTION and strangeness(turned) < FACELIKE:
            raise ValueError(
                f"cameras: the landmarks of {_names(group)} contradict each other as given, and agree "
                f"when T_cam_world is read as {what}; give x_cam = T_cam_world x_world with x right, "
                "y down, z forward"
            )
    kept = _consistent(group)
    left = disagreement(kept)
    if left > TOLERATED:
        raise ValueError(
            f"cameras: the landmarks of {_names(kept)} contradict each other, their rays miss by "
            f"{left:.0f} mm; check that each image belongs to its camera, shows the same instant, and "
            "that x_cam = T_cam_world x_world; or fit without cameras"
        )


def _check_size(group: Sequence[LandmarkView]) -> None:
    scale = face_scale(group)
    if 0.4 < scale < 2.5:
        return
    advice = "lengths must be in mm"
    for unit, size in UNITS.items():
        if 0.7 < scale / size < 1.4:
            advice = f"the cameras look like {unit}; multiply their translations by {1 / size:g}"
    raise ValueError(
        f"cameras: the face that {_names(group)} see would be {scale:.3g} times as large as a human "
        f"face; {advice}"
    )


def _consistent(group: Sequence[LandmarkView]) -> list[LandmarkView]:
    """The views that the start would keep."""
    kept = list(group)
    while (name := inconsistent_view(kept)) is not None:
        kept = [view for view in kept if view.name != name]
    return kept


def _opengl(T: Tensor) -> Tensor:
    return torch.diag(T.new_tensor([1.0, -1.0, -1.0, 1.0])) @ T


MISREADINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "camera to world": rigid_inverse,
    "OpenGL's axes (y up, z backward)": _opengl,
    "camera to world in OpenGL's axes": lambda T: _opengl(rigid_inverse(T)),
}
"""What `T_cam_world` of other programs may mean, and how it becomes ours."""


def _names(group: Sequence[LandmarkView]) -> str:
    return ", ".join(view.name for view in group)
