"""What the views see of the skin: positions by hand, the light field, widths of shared priors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.coefficient_stage import CoefficientSettings
from hrnfit.fit.map_stage import MapSettings
from hrnfit.fit.shared_skin import SharedSkin, SkinSettings, focal_deviations, pose_deviations
from tests.fit.small_scene import truth_scene

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
