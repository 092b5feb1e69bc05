"""The recorded look, called plainly on the CPU and replayed on CUDA, is a look and its relighting."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit import recorded_skin, shared_skin
from hrnfit.fit.recorded_skin import recorded_look
from hrnfit.fit.shared_skin import SharedSkin
from hrnfit.fit.surface_stage import SurfaceSettings
from hrnfit.solve import recorded
from tests.fit.small_scene import truth_on, truth_scene

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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_replayed_look_is_that_of_the_state_it_is_given():
    scene, state = truth_on(torch.device("cuda"))
    turned = state.replace(pose=state.pose + 0.02)
    recorded.forget_recordings()
    skin, plain = SharedSkin(scene, SETTINGS), SharedSkin(scene, SETTINGS)
    looks = []
    for at in (state, turned, state):  # recorded, then replayed twice
        looks.append((skin.refreshed(at), skin.light))
        assert sum("look" in key[0] for key in recorded._kept.store.recordings) == 1
        with recorded.without_recording():
            weight = plain.refreshed(at)
        torch.testing.assert_close(looks[-1][0], weight, atol=1e-5, rtol=0)
        torch.testing.assert_close(looks[-1][1], plain.light, atol=1e-4, rtol=0)
    assert not torch.equal(looks[0][0], looks[1][0])  # a later look has not overwritten it
    torch.testing.assert_close(looks[0][0], looks[2][0])
    cpu_scene, cpu_state = truth_scene()
    cpu = SharedSkin(cpu_scene, SETTINGS)
    apart = (looks[0][0].cpu() - cpu.refreshed(cpu_state)).abs()
    assert float((apart > 1e-3).float().mean()) < 5e-3  # texels at the edge of what is seen
    recorded.forget_recordings()
