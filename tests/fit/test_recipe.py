"""Recipes: every shipped one loads; a wrong key, type or override says what is right."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from hrnfit.fit.first_order_stage import FirstOrderSettings
from hrnfit.fit.map_stage import MapSettings
from hrnfit.fit.recipe import (
    Recipe,
    Resolution,
    Share,
    load_recipe,
    recipe_from,
    recipe_names,
)
from hrnfit.fit.recipe_values import build

STAGE = {"name": "skin", "solver": "map", "free": ["deformation"], "texels": 128}


def document(**changes) -> dict:
    return {"name": "own", "stages": [dict(STAGE)], **changes}


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads_and_its_text_gives_it_back(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.stages or recipe.appearance == "start"
    assert recipe_from(yaml.safe_load(recipe.text)) == recipe


def test_the_defaults_of_the_three_kinds_of_input_are_shipped():
    assert {"single_view", "multi_view", "rig"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_texels_of_map_stages_fit_their_maps(name):
    recipe = load_recipe(name)
    for stage in recipe.stages:
        if isinstance(stage.settings, MapSettings):
            nodes = getattr(recipe.resolution, stage.free[0])
            assert stage.settings.texels % (2 * nodes) == 0, stage.name


def test_defaults_fill_what_is_left_out():
    recipe = recipe_from(document())
    assert recipe.share == Share()
    assert recipe.resolution == Resolution()
    (stage,) = recipe.stages
    assert (stage.level, stage.free) == ("mid", ("deformation",))
    assert stage.settings == MapSettings(texels=128)


def test_numbers_that_yaml_reads_as_text_are_numbers():
    text = yaml.safe_load("membrane: 1e-3")
    assert text == {"membrane": "1e-3"}  # YAML 1.1 wants a dot
    (stage,) = recipe_from(document(stages=[{**STAGE, **text, "steps": "12"}])).stages
    assert stage.settings.membrane == 1e-3
    assert stage.settings.steps == 12
    assert isinstance(stage.settings.steps, int)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": []}, "unknown key 'stage'; did you mean 'stages'"),
        ({"share": {"ligth": "view"}}, "share: unknown key 'ligth'; did you mean 'light'"),
        ({"share": {"light": "views"}}, "share.light: expected view, frame, subject, got 'views'"),
        ({"resolution": {"deformation": "many"}}, "deformation: expected a whole number, got 'many'"),
        ({"resolution": {"deformation": 2.5}}, "expected a whole number, got 2.5"),
        ({"resolution": {"deformation": True}}, "expected a whole number, got True"),
        ({"resolution": 64}, "resolution: expected a mapping, got 64"),
        ({"stages": "skin"}, "stages: expected a list"),
        ({"stages": ["skin"]}, "stage 0: expected a mapping with name, solver"),
        ({"stages": [dict(STAGE), dict(STAGE)]}, "stages need different names, got skin, skin"),
        ({"stages": [{**STAGE, "membrene": 1}]}, r"stage 0 \(skin\): unknown key 'membrene'; did you mean 'membrane'"),
        ({"stages": [{**STAGE, "solver": "newton"}]}, "solver: expected map, coefficients, surface, adam, lbfgs"),
        ({"stages": [{**STAGE, "level": "medium"}]}, "level: expected coarse, mid or fine"),
        ({"stages": [{**STAGE, "free": ["light"]}]}, "free: map moves deformation, displacement"),
        ({"stages": [{**STAGE, "free": []}]}, "missing free"),
        ({"stages": [{**STAGE, "membrane": "soft"}]}, "membrane: expected a number, got 'soft'"),
        ({"name": None}, "name: expected text, got None"),
        ({"stages": [{**STAGE, "steps": -5}]}, "steps: expected at least 1, got -5"),
        ({"stages": [{**STAGE, "size": 20000}]}, "size: expected 16 to 8192, got 20000"),
        ({"stages": [{**STAGE, "membrane": -1}]}, "membrane: expected at least 0, got -1"),
        ({"stages": [{**STAGE, "membrane": float("nan")}]}, "membrane: expected a number, got nan"),
        ({"stages": [{**STAGE, "steps": float("inf")}]}, "steps: expected a whole number, got inf"),
        ({"stages": [{**STAGE, "kernel_scale": 0}]}, "kernel_scale: expected a number above 0, got 0"),
        ({"resolution": {"albedo": 0}}, "albedo: expected 8 to 8192, got 0"),
        ({"start": {"solver": {"max_steps": 0}}}, "max_steps: expected at least 1, got 0"),
        ({"start": {"focal_grid": ["wide"]}}, "focal_grid: expected a number, got 'wide'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe_from(document(**changes))


def test_a_recipe_needs_a_name():
    with pytest.raises(ValueError, match="missing name"):
        recipe_from({"stages": [dict(STAGE)]})


def test_terms_of_first_order_stages():
    stage = {
        "name": "a",
        "solver": "adam",
        "free": ["light"],
        "terms": {"photometric": {"weight": "1e-1"}},
    }
    (built,) = recipe_from(document(stages=[stage])).stages
    assert isinstance(built.settings, FirstOrderSettings)
    assert built.settings.terms["photometric"].weight == 0.1
    with pytest.raises(ValueError, match="unknown term 'photometrik'; did you mean 'photometric'"):
        recipe_from(document(stages=[{**stage, "terms": {"photometrik": {"weight": 1}}}]))
    with pytest.raises(ValueError, match="terms: expected a mapping, got 'photometric'"):
        recipe_from(document(stages=[{**stage, "terms": "photometric"}]))
    with pytest.raises(ValueError, match="at least one"):
        recipe_from(document(stages=[{**stage, "terms": {}}]))
    with pytest.raises(ValueError, match="unknown key 'weigth'; did you mean 'weight'"):
        recipe_from(document(stages=[{**stage, "terms": {"photometric": {"weigth": 1}}}]))


def test_overrides_by_name_and_number():
    name = load_recipe("rig").stages[1].name
    recipe = load_recipe(
        "rig", {f"stages.{name}.steps": 3, "stages.0.steps": "4", "share.light": "view"}
    )
    assert [stage.settings.steps for stage in recipe.stages[:2]] == [4, 3]
    assert recipe.share.light == "view"
    before = load_recipe("rig")
    assert before.stages[2:] == recipe.stages[2:]


def test_an_override_makes_a_section_that_the_file_leaves_out(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(document()))
    assert load_recipe(path, {"start.evidence": 10}).start.evidence == 10.0
    assert load_recipe(path, {"start.solver.max_steps": 7}).start.solver.max_steps == 7


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("stages.skim.steps", "--set stages.skim.steps: no 'skim' here; known: skin"),
        ("stages.7.steps", "no '7' here"),
        ("stages.skin.step", "unknown key 'step'; did you mean 'steps'"),
        ("name.first", "'name' is a value and has no entries"),
        ("resolutions.albedo", "unknown key 'resolutions'; did you mean 'resolution'"),
    ],
)
def test_wrong_overrides_are_named(key, message, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(document()))
    with pytest.raises(ValueError, match=message):
        load_recipe(path, {key: 5})


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"known are .*multi_view.*rig.*single_view"):
        load_recipe("rigg")
    with pytest.raises(FileNotFoundError, match=r"own\.yaml"):
        load_recipe(tmp_path / "own.yaml")
    (tmp_path / "own.yaml").write_text("stages: [}")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_recipe(tmp_path / "own.yaml")
    (tmp_path / "own.yaml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_recipe(tmp_path / "own.yaml")
    (tmp_path / "own.txt").touch()
    with pytest.raises(ValueError, match=r"a file that ends in \.yaml"):
        load_recipe(tmp_path / "own.txt")
    (tmp_path / "own.yaml").write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="expected a mapping"):
        load_recipe(tmp_path / "own.yaml")


def test_values_are_built_with_their_types():
    assert build(Resolution, {"albedo": 32.0}, "here").albedo == 32
    with pytest.raises(ValueError, match="here: unknown key 'x'"):
        build(Recipe, {"name": "a", "x": 1}, "here")


def test_a_recipe_is_read_once_and_its_text_written_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(load_recipe("rig").text)
    first = load_recipe(path)
    assert load_recipe(path) is first
    assert first.text is first.text
    assert first.text == replace(first).text
    path.write_text(first.text.replace("name: rig", "name: own"))
    assert load_recipe(path).name == "own"


def test_overrides_leave_the_kept_recipe_as_it_is():
    before = load_recipe("rig").text
    changed = load_recipe("rig", {"resolution.albedo": 64})
    assert changed.resolution.albedo == 64
    assert load_recipe("rig").text == load_recipe("rig", {}).text == before
