"""What a state predicts in the windows: cameras, levels, rendering, and their derivatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hrnfit.geometry.rotation import pose_matrix, rigid_inverse
from hrnfit.prediction import Prediction, corrected_projection
from hrnfit.render.texture import UvRaster, resized_map, uv_raster
from hrnfit.state import FaceState
from tests.energy.scene import working_views
from tests.fit.small_scene import truth_scene

SIZE = 96


@pytest.fixture(scope="module")
def at_truth() -> Prediction:
    scene, state = truth_scene()
    return scene.predict(state, SIZE)


def with_state(prediction: Prediction, state: FaceState, **changes) -> Prediction:
    return replace(prediction, state=state, **changes)


def test_focal_factor_scales_about_the_principal_point():
    _, state = truth_scene()
    views = working_views(torch.ones(3, 8, 8))
    projection = corrected_projection(
        state.replace(log_focal=torch.tensor([0.0, 0.5, -0.5])), views
    )
    factor = torch.tensor([0.0, 0.5, -0.5]).exp()
    assert torch.allclose(projection.K[:, 0, 0], views.K[:, 0, 0] * factor)
    assert torch.allclose(projection.K[:, 1, 1], views.K[:, 1, 1] * factor)
    assert torch.equal(projection.K[:, :, 2], views.K[:, :, 2])


def test_camera_correction_is_applied_on_the_left():
    _, state = truth_scene()
    views = working_views(torch.ones(3, 8, 8))
    views = replace(views, T_cam_world=pose_matrix(torch.rand(3, 6), torch.eye(4).repeat(3, 1, 1)))
    camera = torch.zeros(3, 6)
    camera[1] = torch.tensor([0.0, 0.0, torch.pi / 2, 1.0, 2.0, 3.0])
    T = corrected_projection(state.replace(camera=camera), views).T_cam_world
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert torch.allclose(T[1, :3, :3], quarter @ views.T_cam_world[1, :3, :3], atol=1e-6)
    assert torch.allclose(T[1, :3, 3], views.T_cam_world[1, :3, 3] + torch.tensor([1.0, 2, 3]))
    assert torch.allclose(T[[0, 2]], views.T_cam_world[[0, 2]])


def test_true_state_gives_the_true_surface_and_its_photographs(at_truth):
    from tests.fit.small_scene import rig

    truth = rig().truth
    assert torch.allclose(at_truth.vertices_world[0], truth.mid, atol=1e-3)
    covered = (at_truth.raster.triangle >= 0) & (at_truth.views.masks > 0.99)
    difference = (at_truth.image - at_truth.views.images).abs().mean(-1)[covered]
    assert covered.float().mean() > 0.2
    assert difference.median() < 0.01


def test_levels_add_up(at_truth):
    offset = at_truth.operator(at_truth.state.deformation)
    coarse = replace(at_truth, level="coarse")
    assert torch.allclose(coarse.vertices_head[0] + offset, at_truth.vertices_head[0])
    assert offset.norm(dim=-1).mean() > 0.5


def test_points_agree_with_the_cameras_of_the_photographs(at_truth):
    """Window px times the window's scale, plus its corner, are the photograph's px."""
    scene, _ = truth_scene()
    assert scene.boxes is not None
    for v, view in enumerate(scene.views):
        box = scene.boxes[v]
        scale = float(box[2] - box[0]) / SIZE
        pixels = at_truth.points[v, :, :2] * scale + box[:2]
        known = view.camera.project(at_truth.vertices_world[0].double()).float()
        assert torch.allclose(pixels, known, atol=2e-3)


def test_landmarks_lie_on_the_vertices_they_name(at_truth):
    marks = at_truth.model.landmarks["ibug68"]
    vertex = at_truth.model.faces[marks.triangles.long(), marks.barycentric.argmax(-1)].long()
    assert torch.allclose(at_truth.landmark_points("ibug68"), at_truth.points[:, vertex, :2], atol=1e-3)  # fmt: skip


def test_head_and_cameras_may_turn_together(at_truth):
    tangent = torch.tensor([0.4, -0.9, 0.3, 50.0, -20.0, 30.0])
    G = pose_matrix(tangent, torch.eye(4))
    state = at_truth.state
    turned = with_state(
        at_truth,
        state.replace(pose_reference=G @ state.pose_reference),
        views=replace(at_truth.views, T_cam_world=at_truth.views.T_cam_world @ rigid_inverse(G)),
    )
    assert torch.allclose(turned.points[..., :2], at_truth.points[..., :2], atol=0.02)
    assert torch.allclose(turned.points[..., 2], at_truth.points[..., 2], atol=0.02)


def test_pixels_outside_the_face_are_black_and_uncovered(at_truth):
    outside = at_truth.raster.triangle < 0
    inside = torch.nn.functional.max_pool2d(outside.float(), 5, 1, 2) == 0
    away = torch.nn.functional.max_pool2d((~outside).float(), 5, 1, 2) == 0
    assert bool((at_truth.coverage[inside] == 1).all())
    assert bool((at_truth.coverage[away] == 0).all())
    assert bool((at_truth.image[away] == 0).all())


def test_flat_displacement_leaves_the_normals_as_they_are(at_truth):
    state = at_truth.state.replace(displacement=torch.zeros(1, 64, 64))
    fine = with_state(at_truth, state, level="fine")
    eroded = torch.nn.functional.max_pool2d((at_truth.raster.triangle < 0).float(), 7, 1, 3) == 0
    cosine = (fine.normals * at_truth.normals).sum(-1)[eroded]
    assert cosine.quantile(0.05) > 0.99
    lengths = fine.normals.norm(dim=-1)[eroded]
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=1e-4)


def test_a_displacement_tilts_the_normals(at_truth):
    ripple = 2.0 * (torch.arange(64) * 0.8).sin().expand(1, 64, 64)
    fine = with_state(at_truth, at_truth.state.replace(displacement=ripple), level="fine")
    cosine = (fine.normals * at_truth.normals).sum(-1)[at_truth.raster.triangle >= 0]
    assert cosine.quantile(0.3) < 0.98


def test_the_chart_is_rasterised_once_per_model_and_resolution(monkeypatch):
    made: list[int] = []

    def counted(*arguments: Any) -> UvRaster:
        made.append(arguments[3])
        return uv_raster(*arguments)

    monkeypatch.setattr("hrnfit.fit.model_constants.uv_raster", counted)
    scene, state = truth_scene()
    model = replace(scene.model, uv=scene.model.uv.clone())
    scene = replace(scene, model=model, _windows={})
    for size in (32, 48, 32):
        moved = state.replace(displacement=torch.zeros(1, size, size))
        first = scene.predict(moved, SIZE, "fine")
        assert first.detail_map.shape == (3, size, size, 3)
        # a frame of another shot: the same fit, other windows
        again = scene.framed(moved).predict(moved, SIZE, "fine")
        assert torch.equal(first.detail_map, again.detail_map)
    assert made == [32, 48]


@pytest.mark.parametrize("leaf", ["identity", "expression", "pose", "camera", "log_focal"])
def test_points_differentiate_as_finite_differences_say(leaf):
    scene, state = truth_scene(torch.float64)
    start = getattr(state, leaf)

    def points(value: Tensor) -> Tensor:
        return scene.predict(state.replace(**{leaf: value}), SIZE).points[:, ::97]

    value = start.clone().requires_grad_()
    direction = torch.linspace(-1, 1, start.numel(), dtype=torch.float64).view_as(start) + 0.3
    weights = torch.linspace(-1, 2, points(start).numel(), dtype=torch.float64).view_as(
        points(start)
    )
    (slope,) = torch.autograd.grad((points(value) * weights).sum(), value)
    h = 1e-6
    numeric = (points(start + h * direction) - points(start - h * direction)) / (2 * h)
    assert float((slope * direction).sum()) == pytest.approx(
        float((numeric * weights).sum()), rel=1e-6
    )


def test_gradient_of_the_image_reaches_every_leaf_it_depends_on(at_truth):
    names = ("identity", "expression", "albedo", "pose", "camera", "log_focal", "deformation",
             "light", "albedo_map", "displacement")  # fmt: skip
    ripple = 0.1 * torch.ones(1, 64, 64)
    state = at_truth.state.replace(displacement=ripple)
    leaves = {name: getattr(state, name).clone().requires_grad_() for name in names}
    with_state(at_truth, state.replace(**leaves), level="fine").image.square().sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None, name
        assert bool(torch.isfinite(leaf.grad).all()), name
        assert leaf.grad.abs().max() > 0, name


def test_resized_maps():
    ramp = torch.arange(4.0)[None, :, None].expand(4, 4, 3)
    assert resized_map(ramp, 4) is ramp
    assert torch.allclose(resized_map(ramp, 2)[0, :, 0], torch.tensor([0.625, 2.375]), atol=0.3)
    assert torch.allclose(resized_map(ramp, 2).mean(), ramp.mean())
    big = resized_map(ramp, 8)
    assert torch.allclose(big[0, :, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))
