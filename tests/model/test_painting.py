"""The dressed-up model: features in the right places, holes filled from behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.model.painting import BROWS, LIPS, SKIN, painted_scene, skin_colours
from tests.model.faces import HOLES, small_model


def test_features_are_painted_on_a_plain_model():
    model = small_model()
    colours = skin_colours(model)
    assert torch.allclose(colours[model.regions["forehead"]].median(0).values, torch.tensor(SKIN))
    brows = colours[model.regions["brows"]].mean(dim=0)
    assert brows.mean() < 0.6 * torch.tensor(SKIN).mean()
    assert brows.mean() > torch.tensor(BROWS).mean()
    redness = colours[:, 0] / colours[:, 1]
    assert redness.max() == pytest.approx(LIPS[0] / LIPS[1], rel=0.2)
    reddest = model.mean[redness.argmax()]
    assert (reddest[:2] - torch.tensor([0.0, -35.0])).norm() < 30.0


def test_a_model_with_features_keeps_its_own_albedo():
    model = small_model()
    size = 64
    image = torch.full((size, size, 3), 0.5)
    texel = (model.uv[model.regions["brows"]] * size).long()
    image[texel[:, 1], texel[:, 0]] = 0.1
    assert skin_colours(replace(model, albedo_mean=image)).max() == 0.5


def test_holes_are_filled():
    model = small_model()
    scene = painted_scene(model, model.mean)
    assert torch.equal(scene.faces[: len(model.faces)], model.faces)
    filling = scene.vertices[scene.faces[len(model.faces) :].long().unique()]
    for x, y, half in HOLES:
        near = filling[(filling[:, :2] - torch.tensor([x, y])).norm(dim=1) < half]
        assert len(near) > 0
    assert int(scene.faces.max()) == len(scene.vertices) - 1 == len(scene.colours) - 1


def test_eyes_look_forward_and_have_an_iris():
    model = small_model()
    scene = painted_scene(model, model.mean)
    for x, y, _ in HOLES[:2]:
        at = (scene.vertices[len(model.mean) :, :2] - torch.tensor([x, y])).norm(dim=1)
        centre = scene.colours[len(model.mean) :][at < 1.0]
        white = scene.colours[len(model.mean) :][(at > 8.0) & (at < 10.0)]
        assert centre.max() < 0.15 < white.min()


def test_message_without_regions():
    bare = replace(small_model(), regions={})
    with pytest.raises(ValueError, match="region masks brows, eyes, lips, mouth"):
        skin_colours(bare)
