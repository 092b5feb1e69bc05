"""Where a state puts the face, and how far its landmarks lie from the found ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.face_place import face_in_world, landmark_distances, projected_boxes
from hrnfit.fit.scene import Scene
from hrnfit.fit.strayed import landmark_errors, photograph_errors
from hrnfit.observe.working import face_boxes
from tests.fit.small_scene import truth_scene


def moved_state():
    """The truth with cameras, focal lengths and head a little aside."""
    scene, state = truth_scene()
    generator = torch.Generator().manual_seed(3)
    camera = 0.01 * torch.randn(3, 6, generator=generator)
    focal = 0.05 * torch.randn(3, generator=generator)
    pose = torch.tensor([[0.05, 0.0, -0.02, 4.0, -3.0, 5.0]])
    return scene, state.replace(camera=camera, log_focal=focal, pose=pose)


def test_boxes_lie_around_the_projected_vertices():
    scene, state = moved_state()
    boxes = projected_boxes(scene.model, state, scene.sharing, scene.photographs, 0.1)
    pixels = torch.stack(
        [scene.camera(state, v).pinhole().project(scene.world(state)[0].double()) for v in range(3)]
    )
    torch.testing.assert_close(boxes, face_boxes(pixels, 0.1).float(), atol=1e-3, rtol=0)


def test_world_is_that_of_the_scene():
    scene, state = moved_state()
    assert torch.equal(face_in_world(scene.model, state), scene.world(state))
    # 4 mm to the left: the pose's translation moves every vertex
    aside = state.replace(pose=state.pose + torch.tensor([0, 0, 0, 4.0, 0, 0]))
    offset = scene.world(aside) - scene.world(state)
    torch.testing.assert_close(
        offset, torch.tensor([4.0, 0, 0]).expand_as(offset), atol=1e-4, rtol=0
    )


def test_distances_are_those_in_windows():
    """Of landmarks in windows of any size, as `landmark_errors` measures them, in px of the photograph."""
    scene, state = moved_state()
    for size in (64, 96, 256):  # 256: more than the photographs show
        windows = landmark_errors(scene, scene.predict(state, size))
        ours = photograph_errors(scene, state)
        assert ours == pytest.approx(windows, rel=1e-3)
        assert min(ours.values()) > 1.0


def test_missing_points_and_views_do_not_count():
    scene, state = moved_state()
    first, second, third = scene.views
    assert first.landmarks is not None
    confidence = first.landmarks.confidence.clone()
    points = first.landmarks.points.clone()
    confidence[3], points[3] = 0.0, 1e4
    marks = replace(first.landmarks, points=points, confidence=confidence)
    fewer = replace(
        scene, views=(replace(first, landmarks=marks), replace(second, landmarks=None), third)
    )
    distances = landmark_distances(fewer.model, state, fewer.sharing, fewer.photographs)
    whole = landmark_distances(scene.model, state, scene.sharing, scene.photographs)
    assert float(distances[0]) == pytest.approx(float(whole[0]), rel=0.1)
    assert distances[1:].tolist() == [0.0, float(whole[2])]
    assert list(photograph_errors(fewer, state)) == ["cam_0", "cam_2"]


def test_a_state_that_is_not_finite_is_nowhere():
    scene, state = moved_state()
    broken = state.replace(log_focal=state.log_focal * torch.nan)
    assert not bool(
        torch.isfinite(torch.tensor(list(photograph_errors(scene, broken).values()))).any()
    )
    with pytest.raises(ValueError, match="a view has no usable point"):
        scene.framed(broken)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_a_gpu_it_is_where_it_is_on_the_cpu():
    scene, state = moved_state()
    device = torch.device("cuda")
    there = Scene(scene.views, scene.model.to(device), scene.sharing, scene.rasterizer, device)
    for _ in range(3):  # the first records
        framed = there.framed(state.to(device))
        torch.testing.assert_close(framed.boxes, scene.framed(state).boxes, atol=2e-3, rtol=0)
        errors = photograph_errors(there, state.to(device))
        assert errors == pytest.approx(photograph_errors(scene, state), rel=1e-4)
        state = state.replace(pose=state.pose + 0.01)
