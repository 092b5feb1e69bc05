"""The constants of a fit: windows around the face, made once, never finer than the photographs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.scene import MOST_WINDOWS, Scene, cut, reaching
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


def test_windows_that_reach_beyond_the_face_have_the_same_pixels(scene):
    size = 100
    grown, side = reaching(scene.boxes, size)
    assert side == 128
    small = scene.photographs.windows(scene.boxes, size)
    large = scene.photographs.windows(grown, side)
    assert torch.allclose(large.images[:, :size, :size], small.images, atol=1e-4)
    assert torch.allclose(large.masks[:, :size, :size], small.masks, atol=1e-3)
    assert torch.allclose(large.K, small.K, rtol=1e-6)
    assert reaching(scene.boxes, 128)[1] == 128


def test_native_windows_are_the_pixels_of_the_photographs(scene):
    windows = scene.windows(1024)
    boxes, side = cut(scene.boxes, 1024)
    assert torch.equal(boxes, boxes.round())
    whole = scene.views[1].image
    left, top = (int(x) for x in boxes[1, :2])
    inside = windows.inside[1]
    rows, columns = inside.nonzero().unbind(1)
    assert len(rows) > 0.5 * side**2
    seen = windows.images[1][rows, columns]
    assert torch.allclose(seen, whole[rows + top, columns + left].to(seen), atol=1e-5)


def test_a_face_that_hardly_moves_has_the_same_pixels(scene):
    """A hundredth of a pixel, over the edge of the next whole one: the window is shifted, not resampled."""
    boxes = torch.tensor([[10.0, 20.0, 90.3, 100.3], [5.0, 5.0, 70.0, 70.0]])
    (here, side), (there, beside) = cut(boxes, 512), cut(boxes + 0.36, 512)
    assert side == beside == 81
    assert torch.equal(here, here.round())
    assert torch.equal(there, there.round())
    assert torch.equal(here[:, 2:] - here[:, :2], torch.full((2, 2), 81.0))
    assert (here - there).abs().max() <= 1.0
    assert cut(boxes, 64) == (boxes, 64)


def test_windows_of_as_many_pixels_are_told_apart(scene):
    """Resampled ones of the native size, and the photographs' own pixels."""
    native = scene.windows(1024)
    resampled = scene.windows(native.size)
    assert resampled.size == native.size
    assert not torch.equal(resampled.K, native.K)
    assert scene.windows(1024) is native
    assert scene.windows(native.size) is resampled


def test_few_sizes_of_windows_are_kept(scene):
    first = scene.windows(64)
    for size in range(65, 65 + MOST_WINDOWS):
        scene.windows(size)
    assert len(scene._windows) == MOST_WINDOWS
    assert scene.windows(64) is not first
