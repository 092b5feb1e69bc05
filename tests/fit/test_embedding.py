"""The perceptual term in a recipe: its embedding is asked for before any work, and Adam follows it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.embedding import needs_embedding, with_embedding
from hrnfit.fit.first_order_stage import FirstOrderSettings, TermWeight, solve_first_order
from hrnfit.fit.recipe import Recipe, load_recipe
from hrnfit.fit.terms import make_term
from tests.energy.faces import SmallEmbedding
from tests.fit.small_scene import truth_scene

MISSING = r"no embedding of faces .* hrnfit nets add arcface PATH, or pass embedding="


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    path = tmp_path / "likeness.yaml"
    path.write_text(
        "name: likeness\n"
        "stages:\n"
        "  - {name: likeness, solver: adam, level: mid, free: [identity, light],\n"
        "     terms: {perceptual: {weight: 0.2, kernel: abs}, identity_prior: {weight: 0.1}}}\n"
    )
    return load_recipe(path)


def test_a_recipe_that_names_the_term_needs_an_embedding(recipe):
    scene, _ = truth_scene()
    assert needs_embedding(recipe)
    with pytest.raises(ValueError, match=MISSING):
        with_embedding(scene, recipe, None)
    embedding = SmallEmbedding()
    assert with_embedding(scene, recipe, embedding).embedding is embedding


def test_other_recipes_need_none():
    scene, _ = truth_scene()
    recipe = load_recipe("single_view")
    assert not needs_embedding(recipe)
    assert with_embedding(scene, recipe, None).embedding is None


def test_a_network_in_training_is_refused(recipe):
    scene, _ = truth_scene()
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    with pytest.raises(ValueError, match="in training mode; call its eval"):
        with_embedding(scene, recipe, network)
    assert with_embedding(scene, recipe, network.eval()).embedding is network


def test_the_term_alone_says_what_it_misses():
    with pytest.raises(ValueError, match=MISSING):
        make_term("perceptual", "ibug68", {})


def test_a_stage_lowers_it():
    scene, truth = truth_scene()
    scene = replace(scene, embedding=SmallEmbedding(cell=7))
    settings = FirstOrderSettings(
        terms={"perceptual": TermWeight(1.0, "abs")}, size=64, steps=14, rates={"light": 0.05}
    )
    dim = truth.replace(light=0.5 * truth.light)
    _, solution = solve_first_order(scene, dim, ("light",), settings, "mid", "adam")
    assert set(solution.terms) == {"perceptual"}
    assert solution.energies[-1] < 0.6 * solution.energies[0]


def test_a_stage_without_an_embedding_says_so():
    scene, truth = truth_scene()
    settings = FirstOrderSettings(terms={"perceptual": TermWeight(1.0)}, size=64, steps=1)
    with pytest.raises(ValueError, match=MISSING):
        solve_first_order(scene, truth, ("light",), settings, "mid", "adam")
