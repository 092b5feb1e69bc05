"""One head pose of several views: exact where they agree, better than any alone where they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.geometry.rotation import rigid_inverse, rigid_matrix, rotation_exp
from hrnfit.infer.crop_pose import analyzer_pose, pose_from_crop
from hrnfit.infer.joint_pose import PosedView, joint_pose
from tests.infer.scenes import apart, five_crop, head

PLACES = ((-400.0, 60.0, 500.0), (30.0, -50.0, 650.0), (700.0, 100.0, 900.0))
"""Cameras around the head, mm in its frame: of different lenses, pictures and distances."""


def truth() -> Tensor:
    rotation = rotation_exp(torch.tensor([0.4, -0.9, 0.3], dtype=torch.float64))
    return rigid_matrix(rotation, torch.tensor([120.0, -800.0, 1500.0]).double())


def rig(T_world_head: Tensor) -> list[Camera]:
    cameras = []
    for i, place in enumerate(PLACES):
        size = 500 + 300 * i
        aside = torch.tensor([20.0 * i, -30.0, 0.0])
        seen = Camera.look_at(place, aside, focal=(1.0 + 0.4 * i) * size, height=size, width=size)
        lens = torch.tensor([-0.1, 0.02, 0.001, 0.002], dtype=torch.float64) * i
        pose = seen.T_cam_world @ rigid_inverse(T_world_head)
        cameras.append(replace(seen, T_cam_world=pose, distortion=lens, name=f"cam_{i}"))
    return cameras


def views(true: Tensor, sizes: tuple[float, ...] = (1.0, 1.0, 1.0)) -> list[PosedView]:
    """Each analyzer takes the head for larger and farther by its factor: the same crop to it."""
    faces, out = head()[1], []
    for camera, size in zip(rig(truth()), sizes, strict=True):
        T_cam_head = camera.T_cam_world @ truth()
        crop = five_crop(camera, T_cam_head, true)
        T_cam_head[:3, 3] *= size
        report = analyzer_pose(size * true, faces, T_cam_head, camera, crop)
        single = pose_from_crop(size * true, faces, report, camera, crop, camera.name)
        out.append(PosedView(size * true, single, camera, camera.name))
    return out


def test_views_that_agree_give_the_truth():
    shape, faces = head()
    together = views(shape)
    assert max(apart(joint_pose(shape, faces, together), truth())) < 1e-6
    for view in together:
        single = rigid_inverse(view.camera.T_cam_world) @ view.T_cam_head
        assert max(apart(joint_pose(shape, faces, [view]), single)) < 1e-6


def test_errors_of_size_are_triangulated_away():
    """Heads believed 4 % too large or small stand 4 % too far or near for each view alone, but on the
    true pixels: the three together know better."""
    shape, faces = head()
    together = views(shape, (1.04, 0.96, 1.03))
    for view in together:
        single = rigid_inverse(view.camera.T_cam_world) @ view.T_cam_head
        assert apart(single, truth())[0] > 15.0
    assert max(apart(joint_pose(shape, faces, together), truth())) < 1e-6


def test_the_world_may_be_anywhere():
    shape, faces = head()
    together = views(shape, (1.02, 1.0, 0.99))
    move = rigid_matrix(
        rotation_exp(torch.tensor([1.0, 0.2, -2.0]).double()),
        torch.tensor([5.0, 900.0, -70.0]).double(),
    )
    moved = [
        replace(v, camera=replace(v.camera, T_cam_world=v.camera.T_cam_world @ rigid_inverse(move)))
        for v in together
    ]
    expected = move @ joint_pose(shape, faces, together)
    assert max(apart(joint_pose(shape, faces, moved), expected)) < 1e-6


def test_a_picture_of_more_pixels_counts_no_more():
    shape, faces = head()
    together = views(shape, (1.03, 0.98, 1.0))
    first = together[0]
    camera = first.camera.resize(8 * first.camera.height, 8 * first.camera.width)
    enlarged = [replace(first, camera=camera), *together[1:]]
    expected = joint_pose(shape, faces, together)
    assert max(apart(joint_pose(shape, faces, enlarged), expected)) < 1e-6


def test_cameras_of_different_rigs_are_refused():
    shape, faces = head()
    together = views(shape)
    away = rigid_matrix(torch.eye(3).double(), torch.tensor([0.0, 0.0, -5000.0]).double())
    other = replace(together[0].camera, T_cam_world=away @ together[0].camera.T_cam_world)
    with pytest.raises(ValueError, match=r"views cam_0, cam_1, cam_2: no single head pose agrees"):
        joint_pose(shape, faces, [replace(together[0], camera=other), *together[1:]])


def test_a_view_without_its_head_before_it_is_named():
    shape, faces = head()
    view = views(shape)[1]
    behind = view.T_cam_head.clone()
    behind[2, 3] = -500.0
    with pytest.raises(ValueError, match="cam_1: its head lies behind its camera"):
        joint_pose(shape, faces, [replace(view, T_cam_head=behind)])


def test_no_view_and_another_models_shape_are_refused():
    shape, faces = head()
    with pytest.raises(ValueError, match="views: at least one"):
        joint_pose(shape, faces, [])
    view = views(shape)[0]
    with pytest.raises(ValueError, match=r"cam_0: shape: expected \(\d+, 3\).*of one model"):
        joint_pose(shape, faces, [replace(view, shape=shape[:-1])])
