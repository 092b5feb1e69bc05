"""A rig of a known face, misread in each of the ways that camera files are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hrnfit.fit.landmark_views import LandmarkView, landmark_views
from hrnfit.fit.rig_check import check_rig, face_scale
from hrnfit.geometry.rotation import rigid_inverse
from tests.fit.small_scene import face, rig, views_of

OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def right(count: int = 3) -> list[LandmarkView]:
    return list(landmark_views(views_of(rig())[:count], face()))


def with_poses(views: list[LandmarkView], pose) -> list[LandmarkView]:
    return [replace(view, T_cam_world=pose(view.T_cam_world)) for view in views]


def in_unit(size: float):
    def scaled(T: Tensor) -> Tensor:
        return torch.cat([T[:, :3], T[:, 3:] * T.new_tensor([size, size, size, 1.0])[:, None]], 1)

    return scaled


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_right_rig_passes(count):
    check_rig(right(count))


def test_a_right_rig_sees_a_face_of_human_size():
    assert face_scale(right()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    ("size", "unit", "factor"),
    [(1e-3, "metres", "1000"), (0.1, "centimetres", "10"), (1 / 25.4, "inches", "25.4")],
)
def test_other_units_are_named_with_their_factor(size, unit, factor, count):
    with pytest.raises(ValueError, match=f"{unit}; multiply their translations by {factor}"):
        check_rig(with_poses(right(count), in_unit(size)))


def test_an_unknown_unit_is_refused_without_a_guess():
    with pytest.raises(ValueError, match="lengths must be in mm"):
        check_rig(with_poses(right(), in_unit(5.0)))


@pytest.mark.parametrize(
    ("written", "named"),
    [
        (rigid_inverse, "as camera to world;"),
        (lambda T: OPENGL @ T, "as OpenGL's axes"),
        (lambda T: rigid_inverse(OPENGL @ T), "as camera to world in OpenGL's axes"),
    ],
)
def test_other_meanings_of_the_pose_are_recognised(written, named):
    with pytest.raises(ValueError, match=named):
        check_rig(with_poses(right(), written))


def test_one_wrong_camera_of_three_is_no_error_of_the_rig():
    views = right()
    views[1] = replace(views[1], pixels=views[1].pixels.flip(0))
    check_rig(views)


def test_two_views_that_contradict_are_refused():
    views = right(2)
    views[1] = replace(views[1], pixels=views[1].pixels.flip(0))
    with pytest.raises(ValueError, match="cam_0, cam_1 contradict each other, their rays miss by"):
        check_rig(views)


def test_instants_are_checked_apart():
    early, late = right(2), with_poses(right(2), in_unit(0.1))
    late = [replace(view, frame=1, name=f"late_{view.name}") for view in late]
    with pytest.raises(ValueError, match="late_cam_0, late_cam_1 see"):
        check_rig([*early, *late])
