"""From the analyzer's vector to a state in the photograph's camera: light, parts, and the pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.rotation import rigid_matrix, rotation_exp
from hrnfit.importers.deep3d import angles_from_rotation, deep3d_camera, gamma_from_light
from hrnfit.importers.turned_light import turned_light
from hrnfit.infer.crop_pose import analyzer_pose, pose_from_crop
from hrnfit.infer.crop_state import state_from_crop
from hrnfit.io.image import srgb_from_linear
from hrnfit.render.shade import shade
from tests.infer.scenes import FLIP, apart, case, five_crop, model, photograph


def light_in_analyzer() -> Tensor:
    """A warm lamp from above on the image's left, and some of every other term."""
    light = 0.04 * torch.linspace(-1, 1, 27, dtype=torch.float64).reshape(9, 3)
    light[0] = torch.tensor([0.8, 0.75, 0.7])
    light[1:4] += torch.tensor([[0.1, 0.1, 0.1], [0.25, 0.2, 0.2], [-0.3, -0.25, -0.2]])
    return light


def vector(shape_part: Tensor, theta: Tensor, light: Tensor) -> Tensor:
    parts = (shape_part, angles_from_rotation(theta[:3, :3]), gamma_from_light(light))
    return torch.cat([*parts, theta[:3, 3] / 100.0])


def coefficients() -> tuple[Tensor, Tensor, Tensor]:
    parts = ([1.0, -0.4, 0.6, 0.2], [0.3, 0.6, 0.1], [0.5, -0.3, 0.2, 0.4, -0.1])
    identity, expression, albedo = (torch.tensor(p, dtype=torch.float64) for p in parts)
    return identity, expression, albedo


def light_in(T_world_head: Tensor, light: Tensor, T_analyzer_head: Tensor) -> Tensor:
    """The light that the analyzer reports for a pose, in another world of the head."""
    flat = vector(torch.cat(coefficients()), T_analyzer_head, light)
    return turned_light(state_from_crop(flat, model()).light_head, T_world_head[:3, :3])


def test_every_vertex_is_shaded_alike_in_both_worlds(generator):
    shape = model().mean
    poses = [
        rigid_matrix(
            rotation_exp(2.0 * torch.randn(3, generator=generator, dtype=torch.float64)),
            torch.randn(3, generator=generator, dtype=torch.float64),
        )
        for _ in range(2)
    ]
    light = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    normals = vertex_normals(shape, model().faces)
    analyzer, world = (
        shade(normals @ T[:3, :3].mT, v)
        for T, v in zip(poses, (light, light_in(poses[1], light, poses[0])), strict=True)
    )
    torch.testing.assert_close(analyzer, world, atol=1e-12, rtol=0)


def test_a_head_that_is_not_turned_keeps_its_light():
    T = case().T
    light = light_in_analyzer()
    torch.testing.assert_close(light_in(T, light, T), light)


def test_light_from_the_left_stays_left_by_hand():
    """The camera's x is the analyzer's, its y and z are turned round: of nine terms four change sign."""
    flip = rigid_matrix(FLIP, torch.zeros(3, dtype=torch.float64))
    light = torch.ones(9, 3, dtype=torch.float64)
    sign = torch.tensor([1.0, -1, -1, 1, -1, 1, 1, -1, 1], dtype=torch.float64)[:, None]
    found = light_in(flip, light, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(found, sign.expand(9, 3))


def test_parts_of_a_vector_in_the_users_camera():
    scene = case(distance=500.0, place=(0.75, 0.3), focal=1.2, lens=(-0.1, 0.02, 0.0, 0.001))
    identity, expression, albedo = coefficients()
    shape, faces = model().shape(identity, expression), model().faces
    crop = five_crop(scene.camera, scene.T, shape)
    theta = analyzer_pose(shape, faces, scene.T, scene.camera, crop)
    light = light_in_analyzer()
    flat = vector(torch.cat([identity, expression, albedo]), theta, light)
    found = state_from_crop(flat[None], model())
    for part, expected in zip(
        (found.identity, found.expression, found.albedo),
        (identity, expression, albedo),
        strict=True,
    ):
        torch.testing.assert_close(part, expected)
    assert max(apart(found.T_analyzer_head, theta)) < 1e-6
    T_cam_head = pose_from_crop(shape, faces, found.T_analyzer_head, scene.camera, crop)
    assert max(apart(T_cam_head, scene.T)) < 1e-6
    normals = vertex_normals(shape, faces)
    torch.testing.assert_close(
        shade(normals, found.light_head), shade(normals @ theta[:3, :3].mT, light)
    )


def test_the_users_picture_cropped_is_the_analyzers_picture():
    """From the analyzer's distance, far off the axis: inside the face both draw the same.

    Pins half pixels, axes and light together. Measured: 0.0022; a crop one px aside 0.0036, light with
    its axes exchanged but not turned with the head 0.0122, light as it was 0.099.
    """
    scene = case(distance=1000.0, place=(0.85, 0.2), focal=1.6, angles=(4.0, 15.0, -6.0))
    identity, expression, albedo = coefficients()
    shape = model().shape(identity, expression)
    crop = five_crop(scene.camera, scene.T, shape)
    theta = analyzer_pose(shape, model().faces, scene.T, scene.camera, crop)
    light = light_in_analyzer()
    flat = vector(torch.cat([identity, expression, albedo]), theta, light)
    found = state_from_crop(flat, model())
    T = pose_from_crop(shape, model().faces, found.T_analyzer_head, scene.camera, crop)
    theirs = srgb_from_linear(photograph(deep3d_camera(), theta, shape, albedo, light))

    def difference(light: Tensor, aside: int = 0) -> float:
        picture = photograph(scene.camera, T, shape, albedo, light).float()
        ours = replace(crop, left=crop.left + aside).image(picture).movedim(0, -1)
        both = ((ours.amin(-1) > 0.02) & (theirs.amin(-1) > 0.02)).float()[None, None]
        inside = torch.nn.functional.max_pool2d(-both, 9, 1, 4)[0, 0] == -1  # 4 px off any edge
        assert float(inside.float().mean()) > 0.2
        return float((ours - theirs).abs()[inside].mean())

    lit = turned_light(found.light_head, T[:3, :3])
    assert difference(lit) < 0.003
    assert difference(lit, aside=1) > 0.003
    assert difference(turned_light(light, FLIP)) > 0.01


def test_the_wrong_vector_is_refused():
    with pytest.raises(ValueError, match="coefficients: expected 45 numbers"):
        state_from_crop(torch.zeros(257), model())
    with pytest.raises(ValueError, match=r"coefficients: .*finite"):
        state_from_crop(torch.full((45,), torch.nan), model())
