"""The start by networks for views of several instants, with lenses and corrected cameras, and bounded expressions."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.fit.network_start import (
    deretouched_albedo,
    posed_view,
    with_coefficients,
    with_light,
    with_poses,
    world_pose,
)
from hrnfit.fit.scene import Scene
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.importers.turned_light import turned_light
from hrnfit.infer.crop_pose import analyzer_pose
from hrnfit.infer.single_view import ViewPrediction
from hrnfit.render.texture import resized_map
from hrnfit.state import FaceState, Sharing
from tests.fit.planted import crop_of, rigs
from tests.fit.small_scene import face
from tests.fit.test_network_start import scene_and_state
from tests.infer.scenes import apart

TWO_INSTANTS = torch.tensor([0, 0, 1])


def said_of(
    scene: Scene, state: FaceState, v: int, T_world_head: Tensor, expression: Tensor
) -> ViewPrediction:
    """What a perfect analyzer says of a view in which the head has a pose and an expression."""
    made, camera = rigs((1,))[0], scene.camera(state, v)
    crop = crop_of(made, scene.views[v].name)
    shape = scene.model.shape(state.identity, expression)
    T_cam_head = camera.T_cam_world.double() @ T_world_head.double()
    T = analyzer_pose(shape, scene.model.faces, T_cam_head, camera, crop)
    return ViewPrediction(
        identity=state.identity,
        expression=expression,
        albedo=state.albedo,
        T_analyzer_head=T,
        crop=crop,
        light_head=torch.linspace(-0.2, 0.8, 27).reshape(9, 3),
        weight=torch.ones(256, 256),
    )


def two_instants() -> tuple[Scene, FaceState, Tensor]:
    """Scene and state of three views at two instants, and the two head poses."""
    scene, state = scene_and_state(rigs((1,))[0])
    apart_mm = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.1, -0.2, 0.05, 8.0, -5.0, 12.0]])
    poses = pose_matrix(apart_mm, state.pose_reference.expand(2, 4, 4))
    row = torch.zeros(3, dtype=torch.int64)
    scene = replace(scene, sharing=Sharing(TWO_INSTANTS, row, row))
    expression = torch.stack([state.expression[0], 0.5 * state.expression[0]])
    state = state.replace(
        expression=expression,
        pose=torch.full((2, 6), 0.02),
        pose_reference=state.pose_reference.expand(2, 4, 4).clone(),
    )
    return scene, state, poses


def test_every_instant_has_a_pose_and_an_expression_of_its_own():
    scene, state, poses = two_instants()
    said = {
        v: said_of(scene, state, v, poses[f], state.expression[f])
        for v, f in enumerate(TWO_INSTANTS.tolist())
    }
    blank = state.replace(expression=torch.zeros_like(state.expression))
    merged = with_coefficients(scene, blank, said)
    torch.testing.assert_close(merged.expression, state.expression)
    found, warnings = with_poses(scene, merged, said)
    assert not warnings
    for f in range(2):
        assert max(apart(found.pose_reference[f].double(), poses[f].double())) < 1e-3
    assert bool((found.pose == 0).all())


def test_an_instant_that_no_view_tells_keeps_its_pose():
    scene, state, poses = two_instants()
    said = {0: said_of(scene, state, 0, poses[0], state.expression[0])}
    found, _ = with_poses(scene, state, said)
    assert torch.equal(found.pose[1], state.pose[1])
    assert torch.equal(found.pose_reference[1], state.pose_reference[1])
    said = {2: said_of(scene, state, 2, poses[1], state.expression[1])}
    light = with_light(scene, state, said).light[0]
    turned = pose_matrix(state.pose, state.pose_reference)[1, :3, :3]
    torch.testing.assert_close(light, turned_light(said[2].light_head, turned))


def test_a_lens_and_a_corrected_camera_are_taken_into_account():
    made = rigs((1,))[0]
    scene, state = scene_and_state(made)
    plain = scene.views[0].camera
    K = plain.K.clone()
    K[0, 2] += 9.0
    bent = (-0.12, 0.03, 0.002, -0.001)
    lens = Camera.create(
        K, plain.T_cam_world, bent, height=plain.height, width=plain.width, dtype=plain.K.dtype
    )
    scene = replace(scene, views=(replace(scene.views[0], camera=lens), *scene.views[1:]))
    nudge = torch.tensor([0.02, -0.01, 0.03, 4.0, -3.0, 6.0])
    state = state.replace(
        log_focal=torch.tensor([0.1, 0.0, 0.0]),
        camera=torch.stack([nudge, torch.zeros(6), torch.zeros(6)]),
    )
    truth = made.truth.T_world_head.double()
    said = said_of(scene, state, 0, truth, state.expression[0])
    assert max(apart(world_pose(posed_view(scene, state, 0, said)).double(), truth)) < 1e-3
    unaware = state.replace(log_focal=torch.zeros(3), camera=torch.zeros(3, 6))
    assert max(apart(world_pose(posed_view(scene, unaware, 0, said)).double(), truth)) > 1.0


def test_bounded_expressions_are_bounded_and_the_pose_is_that_of_the_bounded_shape():
    made = rigs((1,))[0]
    scene, state = scene_and_state(made)
    model = face()
    assert model.expression_is_blendshape
    row = torch.zeros(1, dtype=torch.int64)
    scene = replace(scene, views=scene.views[:1], sharing=Sharing(row, row, row))
    beyond = torch.tensor([6.0, -5.0, 0.5])
    said = {0: said_of(scene, state, 0, made.truth.T_world_head, beyond)}
    merged = with_coefficients(scene, state, said)
    torch.testing.assert_close(merged.expression, torch.tensor([[1.0, 0.0, 0.5]]))
    found, _ = with_poses(scene, merged, said)
    own = posed_view(scene, merged, 0, said[0])
    bounded = model.shape(merged.identity, merged.expression[0])

    def pixels(shape: Tensor, T_world_head: Tensor) -> Tensor:
        T = T_world_head.to(shape)
        return own.camera.to(torch.float32).project(shape @ T[:3, :3].mT + T[:3, 3])

    aim = pixels(own.shape, world_pose(own))
    solved = (pixels(bounded, found.pose_reference[0]) - aim).square().mean()
    copied = (pixels(bounded, world_pose(own)) - aim).square().mean()
    assert solved < 0.8 * copied


def test_the_deretouched_albedo_is_the_models_where_no_view_sees():
    scene, state = scene_and_state(rigs((1,))[0])
    model_albedo = resized_map(scene.model.albedo(state.albedo), 256)
    left = torch.zeros(256, 256)
    left[:, :64] = 1.0
    said = said_of(scene, state, 0, rigs((1,))[0].truth.T_world_head, state.expression[0])
    said = replace(said, weight=left, deretouched=0.5 * model_albedo)
    found = deretouched_albedo(scene, state, {0: said})
    assert found is not None
    torch.testing.assert_close(found[:, :64], 0.5 * model_albedo[:, :64])
    torch.testing.assert_close(found[:, 192:], model_albedo[:, 192:], atol=1e-3, rtol=0)
    assert deretouched_albedo(scene, state, {0: replace(said, deretouched=None)}) is None
