"""What goes into a refinement: views from plain images, rows of the state, windows."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch

from hrnfit.fit.refine_views import check_state, framed, sharing_of, views_given
from hrnfit.fit.scene import Scene
from hrnfit.observe.working import landmark_boxes
from hrnfit.render.cpu import CpuRasterizer
from tests.fit.refine_scene import model, truth, two_views

VIEWS = two_views()
IMAGES = torch.stack([view.image for view in VIEWS])
CAMERAS = [view.camera for view in VIEWS]


def test_plain_images_are_the_same_views():
    masks = torch.stack([view.mask for view in VIEWS])
    views = views_given(IMAGES, CAMERAS, [view.landmarks for view in VIEWS], masks)
    assert [view.name for view in views] == ["cam_0", "cam_1"]
    for ours, given in zip(views, VIEWS, strict=True):
        assert torch.equal(ours.image, given.image)
        assert torch.equal(ours.mask, given.mask)
        assert ours.landmarks is given.landmarks
        assert ours.camera_known
        assert ours.frame == 0


def test_cameras_given_beside_views_replace_theirs():
    guessed = tuple(replace(view, camera_known=False) for view in VIEWS)
    views = views_given(guessed, CAMERAS[::-1], None, None)
    assert views[0].camera is VIEWS[1].camera
    assert views[0].camera_known
    assert views_given(guessed, None, None, None) == guessed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((IMAGES[0], CAMERAS, None, None), r"images: expected \(V, H, W, 3\).*image\[None\]"),
        ((IMAGES, None, None, None), "cameras: images come without any"),
        ((IMAGES, CAMERAS[:1], None, None), "cameras: expected one per view, 2, got 1"),
        ((VIEWS, None, [None], None), "landmarks: expected one per view, 2, got 1"),
        ((VIEWS, None, None, IMAGES[:1, ..., 0]), "masks: expected one per view, 2, got 1"),
        (((), None, None, None), "images: none given"),
    ],
)
def test_errors_say_what_to_do(given, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(views_given)(*given)


def test_rows_follow_from_how_many_there_are():
    state = truth()
    lit = state.replace(light=state.light.repeat(2, 1, 1))
    sharing = sharing_of(VIEWS, lit)
    assert sharing.frame.tolist() == [0, 0]
    assert sharing.light.tolist() == [0, 1]
    assert sharing.displacement.tolist() == [0, 0]
    three = (VIEWS[0], VIEWS[1], replace(VIEWS[0], frame=1))
    twice = {
        n: torch.cat([getattr(state, n)] * 2) for n in ("expression", "pose", "pose_reference")
    }
    apart = sharing_of(three, state.replace(**twice))
    assert apart.frame.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="state: 3 rows of light for 2 views in 1 frames"):
        sharing_of(VIEWS, state.replace(light=state.light.repeat(3, 1, 1)))


def test_a_state_of_other_views_is_refused():
    state, sharing = truth(), sharing_of(VIEWS, truth())
    check_state(state, sharing, VIEWS)
    one = {name: getattr(state, name)[:1] for name in ("camera", "log_focal")}
    with pytest.raises(ValueError, match="expected 2 rows of camera, one per view or frame, got 1"):
        check_state(state.replace(**one), sharing, VIEWS)
    with pytest.raises(ValueError, match="expected 1 rows of light, as its sharing says, got 2"):
        check_state(state.replace(light=state.light.repeat(2, 1, 1)), sharing, VIEWS)
    with pytest.raises(ValueError, match="expected 1 rows of camera"):
        check_state(state, sharing, VIEWS[:1])


def test_windows_lie_around_landmarks_and_without_them_around_the_face():
    views = (VIEWS[0], replace(VIEWS[1], landmarks=None))
    made = Scene(views, model(), sharing_of(views, truth()), CpuRasterizer(), torch.device("cpu"))
    scene = framed(made, truth())
    assert torch.equal(scene.boxes[0], landmark_boxes(VIEWS)[0])
    assert torch.equal(scene.boxes[1], made.framed(truth()).boxes[1])
    turned = truth().replace(pose=torch.full((1, 6), 0.1, dtype=torch.float64))
    again = framed(made, turned)
    assert torch.equal(again.boxes[0], scene.boxes[0])
    assert not torch.equal(again.boxes[1], scene.boxes[1])
    assert scene.windows(48).images.dtype == torch.float64
