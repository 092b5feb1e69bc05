"""The landmarks and masks that a fit finds for itself."""

from __future__ import annotations

import threading
from dataclasses import replace

import torch

from hrnfit.fit import prepare
from hrnfit.fit.prepare import projected_silhouette, with_landmarks, with_masks
from hrnfit.observe.masks import mask_from_projection
from tests.fit.small_scene import truth_scene


class Counted:
    """A detector that counts how many of it were made."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def detect(self, image: torch.Tensor) -> object:
        return truth_scene()[0].views[0].landmarks


def test_a_thread_keeps_its_detector(monkeypatch):
    monkeypatch.setattr(prepare, "MediaPipeDetector", Counted)
    monkeypatch.setattr(Counted, "made", 0)
    bare = tuple(replace(view, landmarks=None) for view in truth_scene()[0].views)
    asked = [with_landmarks(bare)[2] for _ in range(3)]
    assert Counted.made == 1
    assert asked[0] is asked[2]
    other = threading.Thread(target=with_landmarks, args=(bare,))
    other.start()
    other.join()
    assert Counted.made == 2


def test_views_without_a_mask_get_theirs():
    """Several at once as each alone; a given mask stays."""
    scene, state = truth_scene()
    views = (scene.views[0], *(replace(view, mask=None) for view in scene.views[1:]))
    bare = replace(scene, views=views)
    found = with_masks(bare, state)
    assert found[0] is views[0]
    for v in (1, 2):
        silhouette = projected_silhouette(bare, state, v)
        assert 0.05 < float(silhouette.mean()) < 0.9
        assert torch.equal(found[v].mask, mask_from_projection(views[v].image, silhouette))
    assert with_masks(scene, state) is scene.views
