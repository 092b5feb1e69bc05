"""Deep3D's coefficients against a slow reference of their own law, and there and back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit.camera import Camera
from hrnfit.geometry.rotation import pose_matrix, rotation_exp
from hrnfit.importers.deep3d import (
    angles_from_rotation,
    deep3d_camera,
    deep3d_from_state,
    gamma_from_light,
    light_from_gamma,
    rotation_from_angles,
    state_from_deep3d,
)
from hrnfit.importers.kinds import import_model
from hrnfit.importers.turned_light import turned_light
from hrnfit.model.deformation import deformation_operator
from hrnfit.observe.observation import WorkingViews
from hrnfit.prediction import Prediction
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.shade import shade
from hrnfit.render.texture import uv_raster
from hrnfit.state import FaceState, Sharing
from tests.importers.deep3d_reference import (
    POSE,
    their_pixels,
    their_rotation,
    their_shading,
    their_vertices,
)
from tests.importers.write_bfm09 import write_bfm09


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_bfm09(tmp_path_factory.mktemp("bfm")).path


@pytest.fixture(scope="module")
def model(file):
    return import_model("bfm09", file, "bfm").to(torch.float64)


def vector(seed: int) -> np.ndarray:
    """A face somewhere before the camera."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-0.6, 0.6, 3)
    translation = rng.uniform([-0.4, -0.4, -1.0], [0.4, 0.4, 1.0])
    return np.concatenate([rng.normal(size=POSE), angles, 0.3 * rng.normal(size=27), translation])


def unit_normals(seed: int = 0, count: int = 50) -> np.ndarray:
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def prediction(model, state, camera, sharing) -> Prediction:
    """What the fit sees of a state in one camera."""
    size = camera.height
    one = torch.ones(1, size, size, dtype=camera.K.dtype)
    views = WorkingViews(
        images=one[..., None].expand(1, size, size, 3),
        masks=one,
        inside=one > 0,
        K=camera.K[None],
        T_cam_world=camera.T_cam_world[None],
        landmarks=one.new_zeros(1, 0, 2),
        landmark_confidence=one.new_zeros(1, 0),
        names=("view",),
    )
    operator = deformation_operator(
        model.faces, model.uv, model.uv_faces, model.n_vertices, state.deformation.shape[0]
    )
    return Prediction(
        model,
        state,
        sharing,
        views,
        operator,
        CpuRasterizer(),
        lambda size: uv_raster(model.uv, model.uv_faces, model.faces, size, size),
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_vertices_fall_on_their_pixels(model, file, seed):
    given = vector(seed)
    seen = prediction(model, *state_from_deep3d(torch.tensor(given), model))
    posed = their_vertices(file, given)
    assert np.abs(seen.vertices_world[0].numpy() / 100.0 - posed).max() < 1e-5
    assert np.abs(seen.points[0, :, :2].numpy() - their_pixels(posed)).max() < 1e-3
    assert np.abs(seen.points[0, :, 2].numpy() / 100.0 - (10.0 - posed[:, 2])).max() < 1e-5


def test_the_nose_tip_of_the_mean_face_by_hand(model):
    """Without pose a vertex (x, y, z) mm is seen at 1015 x / (1000 - z) right of the centre."""
    still = np.concatenate([np.zeros(POSE), np.zeros(33)])
    state, camera, sharing = state_from_deep3d(torch.tensor(still), model)
    seen = prediction(model, state, camera, sharing).points[0]
    x, y, z = model.mean.unbind(dim=1)
    assert torch.allclose(seen[:, 0], 112.0 + 1015.0 * x / (1000.0 - z))
    assert torch.allclose(seen[:, 1], 112.0 - 1015.0 * y / (1000.0 - z))
    assert (camera.height, camera.width) == (224, 224)
    # light: 0.8 in their constant harmonic and nothing else
    assert torch.allclose(shade(torch.eye(3).double(), state.light[0]), torch.tensor(0.8).double() * 0.886226925)  # fmt: skip


def test_normals_are_shaded_as_theirs(model):
    given = vector(2)
    state, _, _ = state_from_deep3d(torch.tensor(given), model)
    normals = unit_normals()
    expected = their_shading(normals, given[-30:-3])
    found = shade(torch.tensor(normals), state.light[0]).numpy()
    assert np.abs(found - expected).max() < 1e-4
    assert np.ptp(expected) > 0.5


def test_posed_normals_are_shaded_in_the_world(model, file):
    """Their normals are turned with the head, as ours are by the prediction."""
    given = vector(3)
    seen = prediction(model, *state_from_deep3d(torch.tensor(given), model))
    posed = their_vertices(file, given)
    faces = model.faces.numpy()
    a, b, c = (posed[faces[:, k]] for k in range(3))
    sums = np.zeros_like(posed)
    for k in range(3):
        np.add.at(sums, faces[:, k], np.cross(b - a, c - a))
    normals = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    found = shade(seen.normals_world[0], seen.state.light[0]).numpy()
    assert np.abs(found - their_shading(normals, given[-30:-3])).max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coefficients_there_and_back(model, dtype):
    given = torch.tensor(vector(4), dtype=dtype)
    model = model.to(dtype)
    state, camera, sharing = state_from_deep3d(given[None], model)
    assert state.identity.dtype == camera.K.dtype == dtype
    back = deep3d_from_state(state, model, camera, sharing)
    assert (back.coefficients - given).abs().max() < 1e-4
    window = back.window
    assert (window.left, window.top, window.side) == pytest.approx((0.0, 0.0, 224.0), abs=1e-4)


def turned_state(model):
    """Two views of one head in a world of its own: poses with tangents, cameras with corrections."""
    generator = torch.Generator().manual_seed(7)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    zero = torch.zeros(2, dtype=torch.int64)
    sharing = Sharing(frame=zero, light=torch.tensor([0, 1]), displacement=zero)
    state, _, _ = state_from_deep3d(torch.tensor(vector(5)), model)
    reference = torch.eye(4, dtype=torch.float64)
    reference[:3, :3] = rotation_exp(torch.tensor([0.3, -2.0, 0.4], dtype=torch.float64))
    reference[:3, 3] = torch.tensor([50.0, -120.0, 300.0])
    state = state.replace(
        pose=torch.cat([0.2 * noise(1, 3), 20.0 * noise(1, 3)], dim=1),
        pose_reference=reference[None],
        camera=torch.cat([0.02 * noise(2, 3), 3.0 * noise(2, 3)], dim=1),
        log_focal=torch.tensor([0.1, -0.2], dtype=torch.float64),
        light=torch.cat([state.light, noise(1, 9, 3)]),
    )
    head = pose_matrix(state.pose, state.pose_reference)[0]
    cameras = []
    for offset, focal in (([300.0, 80.0, 900.0], 2400.0), ([-500.0, 0.0, 1100.0], 3100.0)):
        place = head[:3, :3] @ torch.tensor(offset, dtype=torch.float64) + head[:3, 3]
        camera = Camera.look_at(place, head[:3, 3], focal=focal, height=900, width=700)
        cameras.append(camera)
    return state, cameras, sharing


def corrected(camera: Camera, state: FaceState, view: int) -> Camera:
    """The camera with the state's corrections applied, as a result hands it out."""
    K = camera.K.clone()
    K[:, :2] *= float(state.log_focal[view].exp())
    return replace(camera, K=K, T_cam_world=pose_matrix(state.camera[view], camera.T_cam_world))


@pytest.mark.parametrize("view", [0, 1])
def test_a_state_in_any_world_there_and_back(model, view):
    """The window of the photograph, scaled to 224 px, shows what the vector describes."""
    state, cameras, sharing = turned_state(model)
    found = corrected(cameras[view], state, view)
    sent = deep3d_from_state(state, model, found, sharing, view)
    again, camera, alone = state_from_deep3d(sent.coefficients, model)
    theirs = prediction(model, again, camera, alone)

    one = Sharing(
        *(index[view : view + 1] for index in (sharing.frame, sharing.light, sharing.frame))
    )
    seen_alone = state.replace(
        camera=state.camera[view : view + 1], log_focal=state.log_focal[view : view + 1]
    )
    ours = prediction(model, seen_alone, cameras[view], one)
    scale = 224.0 / sent.window.side
    corner = torch.tensor([sent.window.left, sent.window.top], dtype=torch.float64)
    expected = (ours.points[0, :, :2] - corner) * scale
    assert (theirs.points[0, :, :2] - expected).abs().max() < 1e-3
    assert (theirs.points[0, :, 2] - ours.points[0, :, 2]).abs().max() < 1e-3
    shading = shade(ours.normals_world[0], state.light[view])
    assert (shade(theirs.normals_world[0], again.light[0]) - shading).abs().max() < 1e-4
    assert shading.std() > 0.05


def test_the_window_is_a_crop_and_resize_of_the_camera(model):
    state, cameras, sharing = turned_state(model)
    camera = corrected(cameras[0], state, 0)
    window = deep3d_from_state(state, model, camera, sharing, 0).window
    cropped = camera.crop(window.left, window.top, 900, 900)
    K = cropped.K[:2] * (224.0 / window.side)
    assert torch.allclose(K, deep3d_camera().K[:2], atol=1e-6)


@pytest.mark.parametrize("yaw", [0.0, 0.7, -1.5, math.pi / 2, -math.pi / 2])
def test_angles_there_and_back(yaw):
    angles = torch.tensor([0.4, yaw, -0.9], dtype=torch.float64)
    R = rotation_from_angles(angles)
    assert np.allclose(R.numpy(), their_rotation(0.4, yaw, -0.9))
    found = angles_from_rotation(R)
    assert torch.allclose(rotation_from_angles(found), R, atol=1e-7)
    if abs(yaw) < 1.55:
        assert torch.allclose(found, angles, atol=1e-9)


def test_light_there_and_back():
    gamma = torch.tensor(vector(6)[-30:-3])
    assert torch.allclose(gamma_from_light(light_from_gamma(gamma)), gamma, atol=1e-12)


def test_turning_the_frame_turns_the_light():
    generator = torch.Generator().manual_seed(3)
    light = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    R = rotation_exp(torch.tensor([0.5, -1.2, 0.8], dtype=torch.float64))
    normals = torch.tensor(unit_normals(1))
    turned = turned_light(light, R)
    assert torch.allclose(shade(normals @ R.mT, turned), shade(normals, light), atol=1e-12)
    assert torch.allclose(turned_light(turned, R.mT), light, atol=1e-12)


def test_a_vector_of_another_model_is_refused(model):
    with pytest.raises(ValueError, match=r"expected 48 numbers .*5 identity.*got 257"):
        state_from_deep3d(torch.zeros(257), model)
    broken = torch.zeros(48)
    broken[3] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        state_from_deep3d(broken, model)


def test_cameras_that_theirs_cannot_be_are_refused(model):
    state, camera, sharing = state_from_deep3d(torch.tensor(vector(8)), model)
    bent = replace(camera, distortion=torch.tensor([0.1, 0.0, 0.0, 0.0]).double())
    with pytest.raises(ValueError, match=r"distortion.*undistort"):
        deep3d_from_state(state, model, bent, sharing)
    oblong = camera.resize(224, 300)
    with pytest.raises(ValueError, match=r"fx .*square"):
        deep3d_from_state(state, model, oblong, sharing)
    with pytest.raises(ValueError, match="views 0 to 0"):
        deep3d_from_state(state, model, camera, sharing, view=1)
    behind = state.replace(pose=torch.tensor([[0.0, 0, 0, 0, 0, 5000]]).double())
    with pytest.raises(ValueError, match="behind the camera"):
        deep3d_from_state(behind, model, camera, sharing)
    with pytest.raises(ValueError, match="pass the model it was fitted with"):
        deep3d_from_state(state.replace(albedo=torch.zeros(2).double()), model, camera, sharing)
