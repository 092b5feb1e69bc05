"""The constants of a fit: windows around the face, made once, never finer than the photographs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.scene import Scene, window_size
from tests.fit.small_scene import face, one_instant, rig, scene_of, truth_scene, views_of


@pytest.fixture
def scene() -> Scene:
    scene, state = truth_scene()
    return scene.framed(state)


def test_windows_hold_the_whole_face(scene):
    prediction = scene.predict(truth_scene()[1], 96)
    points = prediction.points[..., :2]
    assert points.min() > 0
    assert points.max() < 96
    extent = (points.amax(1) - points.amin(1)).amax(-1)
    assert torch.allclose(extent, torch.tensor(96 / 1.12), rtol=1e-3)  # 6 % margin on each side


def test_windows_and_texels_are_made_once(scene):
    assert scene.windows(80) is scene.windows(80)
    assert scene.texels(32) is scene.texels(32)
    assert scene.operator(16) is scene.operator(16)
    assert scene.framed(truth_scene()[1]).texels(32) is scene.texels(32)


def test_windows_are_never_finer_than_the_photographs(scene):
    assert scene.boxes is not None
    native = int((scene.boxes[:, 2] - scene.boxes[:, 0]).max().ceil())
    assert 64 < native < 128
    assert scene.windows(1024).size == native
    assert scene.windows(70).size == 70


def test_framing_follows_the_face_and_forgets_old_windows(scene):
    state = truth_scene()[1]
    aside = state.replace(pose=torch.tensor([[0.0, 0, 0, 10.0, 0, 0]]))
    moved = scene.framed(aside)
    assert moved.boxes is not None
    assert scene.boxes is not None
    assert not torch.allclose(moved.boxes, scene.boxes, atol=0.5)
    assert moved.windows(80) is not scene.windows(80)


def test_focal_factor_is_part_of_the_frame(scene):
    state = truth_scene()[1]
    wide = scene.framed(state.replace(log_focal=torch.full((3,), 0.2)))
    sides = (wide.boxes[:, 2] - wide.boxes[:, 0]) / (scene.boxes[:, 2] - scene.boxes[:, 0])
    assert torch.allclose(sides, torch.tensor(0.2).exp().expand(3), rtol=1e-4)


def test_world_is_the_predicted_mid_level(scene):
    state = truth_scene()[1]
    assert torch.allclose(scene.world(state), scene.predict(state, 64).vertices_world, atol=1e-3)
    assert torch.allclose(scene.world(state)[0], rig().truth.mid, atol=1e-3)


def test_unframed_scene_says_so():
    scene = scene_of(views_of(rig()), truth_scene()[1], face(), one_instant(3))
    with pytest.raises(ValueError, match="frame the face before asking for windows"):
        replace(scene, boxes=None).windows(64)


def test_windows_on_a_gpu_come_in_few_sizes():
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 1)
    assert [window_size(768, native, cpu) for native in (20, 492, 507, 900)] == [64, 492, 507, 768]
    assert [window_size(768, native, gpu) for native in (20, 492, 507, 900)] == [64, 512, 512, 768]
    assert window_size(500, 507, gpu) == 500
