"""A posed shape in a camera: derivatives, weights by hand, and the start between two cameras."""

from __future__ import annotations

import math

import pytest
import torch

from hrnfit.camera import Camera
from hrnfit.derivative import forward_jacobian
from hrnfit.geometry.rotation import pose_matrix, rigid_matrix, rotation_exp
from hrnfit.infer.reprojection import (
    carried,
    facing_weights,
    project,
    solve_pose,
    surface,
    visible,
)
from tests.infer.scenes import apart, case, head

LENS = (0.2, -0.1, 0.01, -0.02, 0.05, 0.01, -0.01, 0.02, 0.01, -0.01, 0.02, 0.01)


def lens_camera() -> Camera:
    pose = rigid_matrix(
        case(angles=(10.0, 35.0, 5.0)).T[:3, :3], torch.tensor([3.0, -8.0, 20.0]).double()
    )
    K = [[700.0, 2.0, 400.0], [0.0, 650.0, 300.0], [0.0, 0.0, 1.0]]
    return Camera.create(K, pose, LENS, height=600, width=800)


def test_pixels_are_the_cameras_and_their_derivatives_the_automatic_ones(generator):
    camera = lens_camera()
    points = 60.0 * torch.randn(30, 3, generator=generator, dtype=torch.float64)
    R = camera.T_cam_world[:3, :3]
    T = rigid_matrix(R.mT, R.mT @ torch.tensor([30.0, -40.0, 500.0]).double())

    def pixels(tangent: torch.Tensor) -> torch.Tensor:
        pose = pose_matrix(tangent, T)
        return camera.project(points @ pose[:3, :3].mT + pose[:3, 3]).reshape(-1)

    value, expected = forward_jacobian(pixels, torch.zeros(6, dtype=torch.float64))
    got, jacobian = project(points, T, camera)
    torch.testing.assert_close(got.reshape(-1), value, atol=1e-9, rtol=0)
    torch.testing.assert_close(jacobian.reshape(-1, 6), expected, atol=1e-9, rtol=1e-9)


def test_weights_of_four_triangles_by_hand():
    # apart from each other: one that faces, one twice as wide, one at 60 degrees, one turned away
    single = torch.tensor([[-1.0, -1.0, 0.0], [2.0, -1.0, 0.0], [-1.0, 2.0, 0.0]]).double()
    tilt = rotation_exp(torch.tensor([math.radians(60.0), 0.0, 0.0], dtype=torch.float64))
    wide = single * torch.tensor([2.0, 1.0, 1.0])
    shape = torch.cat([single, wide, single @ tilt.mT, single])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 11, 10]], dtype=torch.int32)
    camera = Camera.look_at((0.0, 0.0, 1e7), focal=1e6, height=100, width=100)
    face = surface(shape, faces, "view")
    pose = face.centred(torch.eye(4, dtype=torch.float64))
    weights = facing_weights(face, pose, camera).reshape(4, 3)
    expected = torch.tensor([1.0, 2.0, math.cos(math.radians(60.0)) ** 2, 0.0]).double()
    torch.testing.assert_close(weights.sum(1), expected / expected.sum(), atol=1e-6, rtol=0)


def test_weights_do_not_depend_on_how_fine_the_mesh_is():
    points, faces = head()
    face = surface(points, faces, "view")
    middles = points[faces.long()].mean(1)
    corner = faces.long()
    n = len(points) + torch.arange(len(faces))
    halves = [torch.stack([corner[:, k], corner[:, (k + 1) % 3], n], 1) for k in range(3)]
    fine = surface(torch.cat([points, middles]), torch.cat(halves).int(), "view")
    scene = case(angles=(0.0, 50.0, 0.0))
    means = []
    for mesh in (face, fine):
        weights = facing_weights(mesh, mesh.centred(scene.T), scene.camera)
        assert float(weights.sum()) == pytest.approx(1.0, abs=1e-12)
        means.append((weights[:, None] * (mesh.points + mesh.middle)).sum(0))
    torch.testing.assert_close(means[0], means[1], atol=0.5, rtol=0)  # mm


def test_a_camera_carries_a_pose_to_itself():
    camera, scene = lens_camera(), case(distance=450.0)
    T = torch.linalg.inv(camera.T_cam_world) @ scene.T
    assert max(apart(carried(T, camera, camera), T)) < 1e-6


def test_a_longer_lens_at_its_distance_looks_alike():
    near, far = case(focal=1.0, distance=500.0), case(focal=3.0, distance=1500.0)
    start = carried(near.T, near.camera, far.camera)
    assert float(start[2, 3]) == pytest.approx(1500.0, rel=0.01)
    pixels = [s.camera.project(T[:3, 3][None]) for s, T in ((near, near.T), (far, start))]
    torch.testing.assert_close(pixels[0], pixels[1], atol=1e-9, rtol=0)


def test_visible_is_before_the_camera_and_inside_the_lens():
    camera = Camera.create(
        [[500.0, 0, 50], [0, 500.0, 50], [0, 0, 1]], None, (-0.2, 0, 0, 0), height=100, width=100
    )
    # the lens folds over where 1 - 0.6 r^2 = 0: at 1.29 focal lengths
    points = torch.tensor([[0.0, 0, 9], [0, 0, -9], [12.5, 0, 10], [13.5, 0, 10]]).double()
    found = visible(points, torch.eye(4, dtype=torch.float64), camera)
    assert found.tolist() == [True, False, True, False]


def test_a_point_that_says_nothing_of_the_pose_gives_no_solution():
    def rows(pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return pose.new_ones(6), torch.diag(pose.new_tensor([1.0, 1, 1, 1, 1, 0]))

    assert solve_pose(rows, torch.eye(4, dtype=torch.float64)) is None


@pytest.mark.parametrize(
    ("points", "message"),
    [(lambda x: x / 0.0, "NaN or infinite"), (lambda x: x * 0.0, "no area")],
)
def test_shapes_that_are_none_are_refused(points, message):
    shape, faces = head()
    with pytest.raises(ValueError, match=f"left: .*{message}"):
        surface(points(shape), faces, "left")
