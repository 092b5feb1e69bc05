"""Cameras and maps of a result, from the unknowns."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from hrnfit.camera import Camera
from hrnfit.fit.collect import collect_maps, fine_normal_map, refined_cameras
from hrnfit.model.deformation import deformation_operator
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.linear import LinearFaceModel
from hrnfit.state import Sharing, zero_state
from tests.fit.small_result import grid


def flat_model(slope: float = 0.0, size: int = 9) -> LinearFaceModel:
    """A plate of 100 mm, tilted by `slope` in x, whose chart is upright."""
    uv, faces = grid(size)
    x, y = 100 * (uv[:, 0] - 0.5), 100 * (0.5 - uv[:, 1])
    n = 3 * len(uv)
    return LinearFaceModel(
        info=ModelInfo("plate", "Apache-2.0", True, "by hand"),
        mean=torch.stack([x, y, slope * x], -1),
        identity_basis=torch.zeros(1, n),
        expression_basis=torch.zeros(1, n),
        expression_names=("none",),
        expression_is_blendshape=True,
        faces=faces,
        uv=uv,
        uv_faces=faces,
        albedo_mean=torch.full((4, 4, 3), 0.3),
        albedo_basis=torch.zeros(1, 4, 4, 3),
    )


def state_and_operator(model: LinearFaceModel):
    zero = torch.tensor([0])
    state = zero_state(
        identity=1,
        expression=1,
        albedo=1,
        sharing=Sharing(frame=zero, light=zero, displacement=zero),
        deformation=4,
        displacement=64,
        albedo_map=8,
    )
    n = len(model.mean)
    return state, deformation_operator(model.faces, model.uv, model.uv_faces, n, 4)


def test_refined_cameras_by_hand():
    camera = Camera.create([[500, 0, 320], [0, 510, 240], [0, 0, 1]], height=480, width=640)
    state, _ = state_and_operator(flat_model())
    tangent = torch.tensor([[0.0, 0.0, math.pi / 2, 1.0, 2.0, 3.0]])
    (got,) = refined_cameras(
        [camera], state.replace(log_focal=torch.tensor([math.log(2)]), camera=tangent)
    )
    torch.testing.assert_close(
        got.K, camera.K.new_tensor([[1000, 0, 320], [0, 1020, 240], [0, 0, 1]]), atol=1e-4, rtol=0
    )
    want = camera.K.new_tensor([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    torch.testing.assert_close(got.T_cam_world, want, atol=1e-6, rtol=0)
    assert float(camera.K[0, 0]) == 500


def test_unmoved_cameras_stay_the_same():
    camera = Camera.look_at((0, 0, 900), focal=800, height=100, width=200)
    state, _ = state_and_operator(flat_model())
    (got,) = refined_cameras([camera], state)
    torch.testing.assert_close(got.K, camera.K)
    torch.testing.assert_close(got.T_cam_world, camera.T_cam_world)


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_normal_map_of_a_plate(slope):
    model = flat_model(slope)
    state, operator = state_and_operator(model)
    normals = fine_normal_map(model, state, operator, torch.zeros(64, 64), size=64)
    want = normalize(torch.tensor([-slope, 0.0, 1.0]), dim=0)
    torch.testing.assert_close(normals[20:40, 20:40], want.expand(20, 20, 3), atol=1e-4, rtol=0)
    assert normals[0, 0].tolist() == [0.0, 0.0, 1.0]


def test_normal_map_leans_away_from_a_ramp_of_displacement():
    # 0.2 mm per texel of 100 / 64 mm, rising with u, that is with x
    state, operator = state_and_operator(flat_model())
    ramp = (0.2 * torch.arange(64.0)).expand(64, 64).contiguous()
    normals = fine_normal_map(flat_model(), state, operator, ramp, size=64)
    want = normalize(torch.tensor([-0.2 * 64 / 100, 0.0, 1.0]), dim=0)
    torch.testing.assert_close(normals[30, 30], want, atol=2e-3, rtol=0)


def test_collected_maps(generator):
    model = flat_model()
    state, operator = state_and_operator(model)
    state = state.replace(
        albedo_map=torch.linspace(-0.5, 0.9, 8 * 8 * 3).reshape(8, 8, 3),
        displacement=torch.randn(1, 64, 64, generator=generator),
    )
    fused, trust = state.displacement[0], torch.rand(64, 64, generator=generator)
    maps = collect_maps(model, state, operator, fused, trust)
    torch.testing.assert_close(maps.albedo, (0.3 + state.albedo_map).clamp(0, 1))
    assert torch.equal(maps.displacement_views, state.displacement)
    assert torch.equal(maps.confidence, trust)
    assert maps.normal.shape == (512, 512, 3)
    torch.testing.assert_close(maps.normal.norm(dim=-1), torch.ones(512, 512))
