"""What the views see of the skin: positions by hand, the light field, widths of shared priors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hrnfit.energy.texels import Texels
from hrnfit.fit.coefficient_stage import CoefficientSettings
from hrnfit.fit.map_stage import MapSettings
from hrnfit.fit.shared_skin import (
    MOVING,
    SharedSkin,
    SkinSettings,
    focal_deviations,
    local_shape,
    neutral_shape,
    outside_regions,
    pose_deviations,
)
from tests.fit.small_scene import face, truth_scene
from tests.fit.test_map_stage import own_frames

SETTINGS = MapSettings(size=96, texels=48, blur=1.0, offset=0.1)


def test_both_stages_have_the_settings_of_a_look():
    assert isinstance(MapSettings(), SkinSettings)
    assert isinstance(CoefficientSettings(), SkinSettings)


def test_texels_lie_where_the_surface_lies_and_rise_along_its_normals():
    scene, state = truth_scene()
    skin = SharedSkin(scene, SETTINGS)
    look = skin.look(state)
    world = scene.predict(state, 96).vertices_world[0]
    T = scene.windows(96).T_cam_world[2]
    there = skin.texels.interpolate(world) @ T[:3, :3].T + T[:3, 3]
    assert torch.allclose(look.x_cam[2], there, atol=1e-2)
    height = torch.tensor([3.0, 0.0, -1.0])[:, None].expand(3, len(there))
    raised = skin.look(state, height)  # every view shows a height of its own
    rise = height[..., None] * look.normals_cam
    assert torch.allclose(raised.x_cam - look.x_cam, rise, atol=1e-3)
    assert torch.allclose(look.normals_cam.norm(dim=-1), torch.ones(3, len(there)), atol=1e-5)


def test_what_is_seen_can_be_held_while_the_skin_moves():
    scene, state = truth_scene()
    skin = SharedSkin(scene, SETTINGS)
    before = skin.look(state)
    beside = state.replace(pose=state.pose + torch.tensor([0.0, 0, 0, 40, 0, 0]))
    free, held = skin.look(beside), skin.look(beside, visible=before.seen.weight)
    assert torch.equal(held.seen.weight, before.seen.weight)
    assert torch.equal(held.seen.colour, free.seen.colour)
    assert not torch.equal(free.seen.weight, before.seen.weight)


def test_light_of_one_view_is_taken_out_and_stays_out():
    scene, state = truth_scene()
    ramp = torch.linspace(0.5, 0.8, 128)[None, :, None]
    views = (replace(scene.views[0], image=ramp * scene.views[0].image), *scene.views[1:])
    skin = SharedSkin(replace(scene, views=views, _windows={}), SETTINGS)
    before = skin.look(state)
    lit = skin.relight(before)
    assert float(lit.agreed.energy) < 0.2 * float(before.agreed.energy)
    assert float(skin.look(state).agreed.energy) == pytest.approx(float(lit.agreed.energy))
    dark = SharedSkin(replace(scene, views=views, _windows={}), replace(SETTINGS, offset=0.0))
    look = dark.look(state)
    assert dark.relight(look) is look


def test_widths_of_the_priors():
    assert pose_deviations(100.0, 500.0).tolist() == [0.2, 0.2, 0.2, 100.0, 100.0, 100.0]
    assert focal_deviations(None, 0.3, 2).tolist() == [0.3, 0.3]
    given = torch.tensor([0.5, 0.25])
    assert focal_deviations(given, 0.3, 2).tolist() == [0.5, 0.25]


def test_texels_that_touch_a_region_lie_inside_by_hand():
    """Two triangles with an edge between them: one corner in a region is enough."""
    corners = torch.tensor([[0, 1, 2], [2, 1, 3], [2, 1, 3]])
    texels = Texels(corners, torch.full((3, 3), 1 / 3), torch.arange(3), 2)
    regions = {"lips": vertices_of(0), "eyes": vertices_of(3), "nose": vertices_of(0, 3)}
    model = replace(face(), regions=regions)
    assert outside_regions(model, texels, ("lips",)).tolist() == [0, 1, 1]
    assert outside_regions(model, texels, ("eyes",)).tolist() == [1, 0, 0]
    assert outside_regions(model, texels, ("lips", "eyes")).tolist() == [0, 0, 0]
    assert outside_regions(model, texels, ("tail",)).tolist() == [1, 1, 1]
    assert outside_regions(model, texels, ()).tolist() == [1, 1, 1]


def vertices_of(*marked: int) -> Tensor:
    mask = torch.zeros(face().n_vertices, dtype=torch.bool)
    mask[list(marked)] = True
    return mask


def test_local_shape_is_what_coefficients_do_to_the_texels():
    model, texels = face(), truth_scene()[0].texels(48)
    identity, expression = torch.tensor([0.5, -1.0, 0.3, 2.0]), torch.tensor([0.4, 0.0, -0.7])
    mean, own, other = neutral_shape(model, texels, identity)
    assert own.shape == (len(texels.flat), 3, 4)
    assert other.shape == (len(texels.flat), 3, 3)
    there = texels.interpolate(model.shape(identity, expression))
    assert torch.allclose(mean + own @ identity + other @ expression, there, atol=1e-3)
    assert torch.allclose(mean, texels.interpolate(model.mean), atol=1e-4)
    elsewhere = local_shape(model, texels, identity, expression)
    assert torch.allclose(elsewhere.mean, mean, atol=1e-4)
    assert torch.allclose(elsewhere.only(torch.tensor([3])).identity, own[3:4], atol=1e-4)
    double = neutral_shape(model.to(torch.float64), texels, identity.double())
    assert double.identity.dtype == torch.float64


@pytest.mark.parametrize("region", MOVING)
def test_what_moves_is_compared_within_an_instant_only(region):
    scene, state = truth_scene()
    upper = face().mean[:, 1] > 30.0
    model = replace(face(), regions={region: upper, "nose": ~upper})
    one = replace(scene, model=model, _windows={})
    apart, sharing = own_frames(state)
    several = replace(one, sharing=sharing)
    together = SharedSkin(one, SETTINGS).look(state).seen.weight
    skin = SharedSkin(several, SETTINGS)
    # the same poses, so that both see the same
    seen = skin.look(apart.replace(pose=torch.zeros(3, 6))).seen.weight
    touched = upper[skin.texels.corners].any(1)
    assert float(together[:, touched].sum()) > 100.0
    assert torch.equal(seen[:, touched], torch.zeros_like(seen[:, touched]))
    assert torch.allclose(seen[:, ~touched], together[:, ~touched], atol=1e-4)
