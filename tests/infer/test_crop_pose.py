"""What an analyzer reports of a crop, and the head pose behind it: there, back, and in between."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit.camera import Camera
from hrnfit.geometry.rotation import pose_matrix, rigid_matrix
from hrnfit.importers.deep3d import deep3d_camera, rotation_from_angles
from hrnfit.infer.crop import Crop
from hrnfit.infer.crop_pose import analyzer_pose, pose_from_crop
from tests.infer.independent_analyzer import reported
from tests.infer.scenes import (
    FLIP,
    Case,
    apart,
    case,
    five_crop,
    head,
    model,
    photograph,
    random_case,
)

LENSES = {"pinhole": (), "lens": (-0.2, 0.05, 0.004, -0.003, 0.01)}


def forth_and_back(scene: Case) -> tuple[float, float]:
    shape, faces = head()
    theta = analyzer_pose(shape, faces, scene.T, scene.camera, scene.crop)
    return apart(pose_from_crop(shape, faces, theta, scene.camera, scene.crop), scene.T)


def test_the_inverse_undoes_the_report_wherever_the_head_is():
    rng = np.random.default_rng(0)
    worst = np.max([forth_and_back(random_case(rng)) for _ in range(40)], axis=0)
    assert worst.max() < 1e-6


@pytest.mark.parametrize("focal", [0.8, 6.0])
@pytest.mark.parametrize("distance", [300.0, 3000.0])
@pytest.mark.parametrize("k1", [-0.2, 0.2])
@pytest.mark.parametrize("yaw", [-60.0, 60.0])
@pytest.mark.parametrize("place", [(0.13, 0.15), (0.9, 0.5)])
def test_at_the_ends_of_every_range(focal, distance, k1, yaw, place):
    scene = case(
        focal=focal,
        distance=distance,
        angles=(30.0, yaw, -40.0),
        lens=(k1, 0.0, 0.0, 0.0),
        place=place,
    )
    assert max(forth_and_back(scene)) < 1e-6


def test_a_report_that_no_head_gives_exactly_is_explained_all_the_same(generator):
    """Networks err: the answer to any report is the pose of which it would be the perfect one."""
    shape, faces = head()
    for seed in range(10):
        scene = random_case(np.random.default_rng(seed))
        theta = analyzer_pose(shape, faces, scene.T, scene.camera, scene.crop)
        noise = torch.randn(6, generator=generator, dtype=torch.float64)
        theta = pose_matrix(noise * torch.tensor([0.1, 0.1, 0.1, 8.0, 8.0, 60.0]), theta)
        T = pose_from_crop(shape, faces, theta, scene.camera, scene.crop)
        again = analyzer_pose(shape, faces, T, scene.camera, scene.crop)
        assert max(apart(again, theta)) < 1e-6


def test_the_analyzers_own_camera_reports_the_truth():
    """A photograph of 224 px taken with 1015 px of focal length: nothing is left to solve."""
    shape, faces = head()
    own = replace(deep3d_camera(), T_cam_world=torch.eye(4, dtype=torch.float64))
    crop, T_cam_world = Crop(224, 224, 224, 224, 0, 0, 224), deep3d_camera().T_cam_world
    T = rigid_matrix(case(angles=(8.0, -35.0, 12.0)).T[:3, :3], torch.tensor([9.0, -14.0, 930.0]))
    theta = analyzer_pose(shape, faces, T.double(), own, crop)
    assert max(apart(T_cam_world @ theta, T.double())) < 1e-8
    assert max(apart(pose_from_crop(shape, faces, theta, own, crop), T.double())) < 1e-8


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())
@pytest.mark.parametrize("yaw", [0.0, 55.0])
def test_a_known_state_comes_back_from_the_crop_of_its_picture(lens, yaw):
    """The way of a user: photograph, landmarks, crop, an analyzer that is not ours, and back."""
    face = model()
    identity = torch.tensor([1.0, -0.5, 0.8, 0.3], dtype=torch.float64)
    expression = torch.tensor([0.5, 0.2, 0.7], dtype=torch.float64)
    shape = face.shape(identity, expression)
    scene = case(focal=1.1, distance=420.0, angles=(6.0, yaw, 9.0), place=(0.7, 0.35), lens=lens)
    camera, T = scene.camera, scene.T
    crop = five_crop(camera, T, shape)
    seen = crop.camera(camera).project(shape @ T[:3, :3].mT + T[:3, 3])
    report = torch.from_numpy(reported(shape.numpy(), face.faces.numpy(), seen.numpy()))
    theta = rigid_matrix(rotation_from_angles(report[:3]), 100.0 * report[3:])
    found = pose_from_crop(shape, face.faces, theta, camera, crop)
    mm, degrees = apart(found, T)
    assert mm < 0.1
    assert degrees < 0.1
    # measured: the independent minimiser's own precision
    assert max(mm, degrees) < 1e-4

    light = torch.zeros(9, 3, dtype=torch.float64)
    light[0], light[2], light[3] = 0.8, -0.3, 0.2
    albedo = torch.zeros(face.n_albedo, dtype=torch.float64)
    pictures = [crop.image(photograph(camera, p, shape, albedo, light).float()) for p in (T, found)]
    assert float(pictures[0].amax()) > 0.3
    assert float((pictures[0] - pictures[1]).abs().max()) <= 1.0 / 255 + 1e-6


def test_turning_the_photograph_upside_down_turns_the_report():
    shape, faces = head()
    scene = case(distance=450.0, place=(0.3, 0.4))
    camera, crop = scene.camera, scene.crop
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    K = camera.K.clone()
    K[:2, 2] = torch.tensor([camera.width, camera.height]) - K[:2, 2]
    left, top = (
        crop.resized_width - crop.left - crop.size,
        crop.resized_height - crop.top - crop.size,
    )
    theta = analyzer_pose(shape, faces, scene.T, camera, crop)
    turned = analyzer_pose(
        shape,
        faces,
        half_turn @ scene.T,
        replace(camera, K=K),
        replace(crop, left=left, top=top),
    )
    assert max(apart(turned, half_turn @ theta)) < 1e-6


def test_moving_the_photograph_under_the_crop_changes_nothing():
    shape, faces = head()
    scene = case(distance=450.0, place=(0.3, 0.4))
    camera, crop = scene.camera, scene.crop
    theta = analyzer_pose(shape, faces, scene.T, camera, crop)
    # ten px of the crop are as many of the photograph as the resize factor says
    shift = torch.tensor([10 * crop.width / crop.resized_width, 0.0], dtype=torch.float64)
    K = camera.K.clone()
    K[:2, 2] += shift
    moved = analyzer_pose(
        shape, faces, scene.T, replace(camera, K=K), replace(crop, left=crop.left + 10)
    )
    assert max(apart(moved, theta)) < 1e-8


def test_a_larger_crop_of_the_same_square_reports_the_same():
    shape, faces = head()
    scene = case(distance=450.0)
    crop = scene.crop
    double = Crop(
        crop.height,
        crop.width,
        2 * crop.resized_height,
        2 * crop.resized_width,
        2 * crop.left,
        2 * crop.top,
        448,
    )
    first, second = (analyzer_pose(shape, faces, scene.T, scene.camera, c) for c in (crop, double))
    assert max(apart(first, second)) < 1e-7


def test_where_the_head_frame_lies_does_not_matter():
    shape, faces = head()
    scene, offset = case(distance=450.0), torch.tensor([300.0, -200.0, 900.0]).double()
    moved = scene.T @ rigid_matrix(torch.eye(3, dtype=torch.float64), -offset)
    theta = analyzer_pose(shape, faces, scene.T, scene.camera, scene.crop)
    other = analyzer_pose(shape + offset, faces, moved, scene.camera, scene.crop)
    assert max(apart(other @ rigid_matrix(torch.eye(3).double(), offset), theta)) < 1e-6


def test_rescaling_alone_is_wrong_by_centimetres_and_degrees():
    """What is gained: a focal length's worth of depth and the analyzer's rotation taken as they are."""
    shape, faces = head()
    scene = case(distance=400.0, angles=(0.0, 30.0, 0.0), place=(0.8, 0.3), focal=1.1)
    theta = analyzer_pose(shape, faces, scene.T, scene.camera, scene.crop)
    analyzer = deep3d_camera()
    posed = analyzer.T_cam_world @ theta
    own = scene.crop.camera(scene.camera)
    depth = posed[2, 3] * own.K[0, 0] / 1015.0
    plain = rigid_matrix(posed[:3, :3], own.unproject(analyzer.project(theta[:3, 3]), depth))
    mm, degrees = apart(plain, scene.T)
    assert mm > 5.0
    assert degrees > 10.0
    solved = pose_from_crop(shape, faces, theta, scene.camera, scene.crop)
    assert max(apart(solved, scene.T)) < 1e-8


def test_float32_and_other_dtypes_come_in_and_float64_goes_out():
    shape, faces = head()
    scene = case()
    theta = analyzer_pose(
        shape.float(), faces, scene.T.float(), scene.camera.to(torch.float32), scene.crop
    )
    assert theta.dtype == torch.float64
    T = pose_from_crop(shape.float(), faces, theta.float(), scene.camera, scene.crop)
    mm, degrees = apart(T, scene.T)
    assert mm < 0.01
    assert degrees < 0.001


def test_a_head_behind_the_camera_is_refused():
    shape, faces = head()
    scene = case()
    behind = rigid_matrix(FLIP, torch.tensor([0.0, 0.0, -600.0]).double())
    with pytest.raises(ValueError, match="cam_2: part of the head lies behind the camera"):
        analyzer_pose(shape, faces, behind, scene.camera, scene.crop, "cam_2")


def test_a_report_behind_the_analyzers_camera_is_refused():
    shape, faces = head()
    scene = case()
    theta = torch.eye(4, dtype=torch.float64)
    theta[2, 3] = 1500.0
    with pytest.raises(
        ValueError, match=r"cam_2: the reported pose .* behind the analyzer's camera"
    ):
        pose_from_crop(shape, faces, theta, scene.camera, scene.crop, "cam_2")


def test_a_report_that_looks_away_is_refused():
    shape, faces = head()
    scene, theta = case(), torch.diag(torch.tensor([-1.0, 1, -1, 1], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"cam_2: the reported pose turns the face away"):
        pose_from_crop(shape, faces, theta, scene.camera, scene.crop, "cam_2")
    away = scene.T @ theta
    with pytest.raises(ValueError, match=r"cam_2: .* turned away from the camera"):
        analyzer_pose(shape, faces, away, scene.camera, scene.crop, "cam_2")


@pytest.mark.parametrize(
    ("aside", "message"),
    [
        (280, "distortion: .* outside the lens model"),
        (235, "no head pose in camera 'wide' explains"),
    ],
)
def test_a_report_beyond_the_lens_is_refused(aside, message):
    """The lens folds over 258 px from the centre: before the face's middle, or across the face."""
    shape, faces = head()
    K = [[300.0, 0.0, 500.0], [0.0, 300.0, 400.0], [0.0, 0.0, 1.0]]
    camera = Camera.create(K, None, (-0.2, 0, 0, 0), height=800, width=1000, name="wide")
    crop = Crop(800, 1000, 800, 1000, 500 + aside - 112, 288, 224)
    theta = torch.eye(4, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"cam_2: .*{message}"):
        pose_from_crop(shape, faces, theta, camera, crop, "cam_2")


def test_poses_that_are_none_are_refused():
    shape, faces = head()
    scene = case()
    with pytest.raises(ValueError, match=r"view: reported pose: not a rotation.*scale is 2"):
        pose_from_crop(
            shape, faces, torch.diag(torch.tensor([2.0, 2, 2, 1])), scene.camera, scene.crop
        )
    with pytest.raises(ValueError, match="T_cam_head: 16 of 16 values are NaN"):
        analyzer_pose(shape, faces, torch.full((4, 4), math.nan), scene.camera, scene.crop)
