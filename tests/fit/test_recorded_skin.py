"""The recorded look, called plainly here, is a look and its relighting."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit import recorded_skin, shared_skin
from hrnfit.fit.recorded_skin import recorded_look
from hrnfit.fit.shared_skin import SharedSkin
from hrnfit.fit.surface_stage import SurfaceSettings
from tests.fit.small_scene import truth_scene

SETTINGS = SurfaceSettings(size=96, texels=48, blur=1.0, kernel_scale=0.8, offset=0.03)


def test_it_is_a_look_and_its_light():
    scene, state = truth_scene()
    skin = SharedSkin(scene, SETTINGS)
    look = skin.relight(skin.look(state))
    given = (skin.source, skin.texels, skin._compared, SETTINGS.offset, SETTINGS.kernel_scale)
    weight, light = recorded_look(scene, state, scene.windows(96), *given)
    assert torch.equal(weight, look.seen.weight)
    torch.testing.assert_close(light, skin.light)
    assert bool(light.any())


def test_refreshing_keeps_the_light():
    scene, state = truth_scene()
    one, other = SharedSkin(scene, SETTINGS), SharedSkin(scene, SETTINGS)
    assert torch.equal(one.refreshed(state), other.look(state).seen.weight)
    other.relight(other.look(state))
    assert torch.equal(one.light, other.light)


def test_renderers_that_look_at_values_are_not_recorded(monkeypatch):
    """A recording of theirs would fail: the look and its light are computed as on the CPU."""
    monkeypatch.setattr(shared_skin, "records", lambda device: True)
    monkeypatch.setattr(recorded_skin, "recorded_look", None)
    scene, state = truth_scene()
    skin = SharedSkin(scene, SETTINGS)
    assert bool(skin.refreshed(state).any())
    monkeypatch.setattr(shared_skin, "recordable", lambda scene: True)
    with pytest.raises(TypeError, match="not callable"):
        skin.refreshed(state)
