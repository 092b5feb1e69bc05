"""Ablations change the one thing they name, in recipes as they ship."""

from __future__ import annotations

import pytest

from benchmarks.variants import limited, pyramid_off, variants
from hrnfit import load_recipe
from hrnfit.fit.map_stage import MapSettings

SHIPPED = ("rig", "multi_view", "single_view")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_variant_differs_from_the_whole_and_from_each_other(name):
    recipe = load_recipe(name)
    found = variants(recipe)
    assert found[0].name == "whole"
    assert found[0].recipe == recipe
    assert found[-1].recipe == recipe
    assert found[-1].landmark_noise > 0
    assert len({variant.name for variant in found}) == len(found)
    for variant in found[1:-1]:
        assert variant.recipe != recipe, variant.name


@pytest.mark.parametrize("name", SHIPPED)
def test_small_windows_are_small_and_nothing_else_is_lost(name):
    recipe = load_recipe(name)
    small = limited(recipe, 200)
    assert [s.name for s in small.stages] == [s.name for s in recipe.stages]
    for before, after in zip(recipe.stages, small.stages, strict=True):
        assert after.settings.size == min(200, before.settings.size)
        assert after.settings.steps == before.settings.steps
        assert after.free == before.free
    assert limited(recipe, 4096).stages[0] == recipe.stages[0]


def test_without_the_pyramid_one_map_stage_per_level_has_all_steps():
    recipe = load_recipe("rig")
    flat = pyramid_off(recipe)
    for level in ("mid", "fine"):
        before = [s for s in recipe.stages if s.level == level]
        after = [s for s in flat.stages if s.level == level]
        maps = [s for s in before if isinstance(s.settings, MapSettings)]
        (flattened,) = [s for s in after if isinstance(s.settings, MapSettings)]
        assert flattened.name == maps[-1].name
        assert flattened.settings.steps == sum(s.settings.steps for s in maps)


def test_a_setting_that_is_off_is_off_in_every_stage():
    by_name = {variant.name: variant.recipe for variant in variants(load_recipe("rig"))}
    for stage in by_name["light field off"].stages:
        assert getattr(stage.settings, "offset", 0.0) == 0.0
    assert all(stage.level != "fine" for stage in by_name["fine level off"].stages)
    held = {v.name: v.recipe for v in variants(load_recipe("multi_view"))}["cameras held"]
    for stage in held.stages:
        if isinstance(stage.settings, MapSettings):
            assert not {"pose", "log_focal"} & set(stage.free)
