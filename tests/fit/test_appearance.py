"""Light and albedo for known geometry: what they render, and what they make of the unseen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.appearance import fit_appearance, look_linear, with_albedo
from hrnfit.state import Sharing
from tests.fit.small_scene import truth_scene


@pytest.fixture(scope="module")
def fitted():
    scene, truth = truth_scene()
    blank = truth.replace(
        light=torch.zeros_like(truth.light),
        albedo=torch.zeros_like(truth.albedo),
        albedo_map=torch.zeros_like(truth.albedo_map),
    )
    return scene, truth, blank, fit_appearance(scene, blank, size=96)


def rendering_error(scene, state) -> float:
    prediction = scene.predict(state, 96)
    facing = (prediction.raster.triangle >= 0) & (prediction.views.masks > 0.99)
    return float((prediction.image - prediction.views.images).abs()[facing].mean())


def test_the_photographs_are_explained(fitted):
    scene, truth, _, after = fitted
    assert rendering_error(scene, after) < 0.02
    assert rendering_error(scene, after) < 1.3 * rendering_error(scene, truth) + 0.005


def test_only_light_and_albedo_change(fitted):
    _, _, blank, after = fitted
    for name in ("identity", "expression", "pose", "deformation", "displacement", "log_focal"):
        assert getattr(after, name) is getattr(blank, name), name


def test_everything_is_finite_and_albedo_is_a_reflectance(fitted):
    scene, _, _, after = fitted
    albedo = scene.predict(after, 64).albedo_map
    used = scene.texels(albedo.shape[0]).flat
    assert bool(torch.isfinite(albedo).all())
    assert albedo.flatten(0, 1)[used].min() > -0.05
    assert albedo.flatten(0, 1)[used].max() < 1.55


def test_a_darker_photograph_has_a_darker_light_of_its_own(fitted):
    scene, _, blank, _ = fitted
    row = torch.arange(3)
    own = replace(scene, sharing=Sharing(scene.sharing.frame, row, scene.sharing.displacement))
    dark = replace(own.views[1], image=0.5 * own.views[1].image)
    own = replace(own, views=(own.views[0], dark, own.views[2]), _windows={})
    after = fit_appearance(own, blank.replace(light=torch.zeros(3, 9, 3)), size=96)
    level = after.light[:, 0].mean(-1)
    assert float(level[1] / level[[0, 2]].mean()) == pytest.approx(0.5, abs=0.1)


def test_unseen_skin_continues_what_is_seen(fitted):
    """With the lower half masked in all views, its albedo is filled without a step in brightness."""
    scene, _, blank, full = fitted
    height = scene.views[0].image.shape[0]
    masks = [view.mask.clone() for view in scene.views if view.mask is not None]
    for mask in masks:
        mask[height // 2 :] = 0.0
    views = tuple(replace(v, mask=m) for v, m in zip(scene.views, masks, strict=True))
    half = fit_appearance(replace(scene, views=views, _windows={}), blank, size=96)
    seen, _ = look_linear(scene, blank, 96, 128)
    flat = scene.texels(128).flat[seen.weight.sum(0) > 0.5]
    filled = scene.predict(half, 64).albedo_map.flatten(0, 1)[flat]
    known = scene.predict(full, 64).albedo_map.flatten(0, 1)[flat]
    assert bool(torch.isfinite(filled).all())
    ratio = filled.mean(0) / filled.mean() / (known.mean(0) / known.mean())
    assert torch.allclose(ratio, torch.ones(3), atol=0.15)  # the colour of this skin


def test_a_given_albedo_is_taken_and_its_light_explains_the_photographs(fitted):
    scene, truth, blank, _ = fitted
    albedo = scene.predict(truth, 64).albedo_map
    after = with_albedo(scene, truth.replace(light=blank.light), albedo, size=96)
    torch.testing.assert_close(scene.predict(after, 64).albedo_map, albedo)
    assert rendering_error(scene, after) < 1.1 * rendering_error(scene, truth) + 0.002
    coarser = with_albedo(scene, truth, albedo[::2, ::2], size=96)
    assert coarser.albedo_map.shape == truth.albedo_map.shape
    assert torch.equal(coarser.albedo, truth.albedo)
