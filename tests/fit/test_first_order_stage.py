"""Analysis by synthesis: any leaves and terms, lower energy, nothing else moved."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.energy.term import Term
from hrnfit.fit.first_order_stage import RATES, FirstOrderSettings, TermWeight, solve_first_order
from hrnfit.fit.terms import TERMS, make_term
from hrnfit.solve.solver import Outcome
from tests.energy.faces import SmallEmbedding
from tests.fit.small_scene import truth_scene

LIGHT = FirstOrderSettings(terms={"photometric": TermWeight(1.0)}, size=64, steps=12)


def solve(free, settings=LIGHT, level="mid", solver="adam", progress=None, **moved):
    scene, state = truth_scene()
    start = state.replace(**moved)
    after, solution = solve_first_order(scene, start, free, settings, level, solver, progress)
    return start, after, solution


@pytest.mark.parametrize(("solver", "steps"), [("adam", 14), ("lbfgs", 1)])
def test_dim_light_becomes_the_true_one(solver, steps):
    _, truth = truth_scene()
    settings = FirstOrderSettings(terms=LIGHT.terms, size=64, steps=steps, rates={"light": 0.05})
    _, after, solution = solve(("light",), settings, solver=solver, light=0.6 * truth.light)
    assert solution.energies[-1] < 0.3 * solution.energies[0]
    assert set(solution.terms) == {"photometric"}
    assert after.light[0, 0].mean() == pytest.approx(float(truth.light[0, 0].mean()), rel=0.15)


def test_only_what_is_free_moves():
    _, truth = truth_scene()
    start, after, _ = solve(("light",), light=0.6 * truth.light)
    for name in RATES:
        moved = not torch.equal(getattr(after, name), getattr(start, name))
        assert moved == (name == "light"), name
    assert not after.light.requires_grad


def test_a_head_that_was_turned_comes_back_through_the_rendering():
    aside = torch.tensor([[0.0, 0.03, 0.0, 0.0, 0.0, 0.0]])
    settings = FirstOrderSettings(
        terms={"photometric": TermWeight(1.0), "landmark": TermWeight(1.0)}, size=64, steps=14
    )
    _, after, solution = solve(("pose",), settings, pose=aside)
    assert after.pose[0, 1].abs() < 0.012
    assert solution.energies[-1] < 0.8 * solution.energies[0]


def test_levels_decide_what_is_rendered():
    """At the coarse level the deformation map plays no part: its gradient is that of its prior."""
    settings = FirstOrderSettings(
        terms={"photometric": TermWeight(1.0), "deformation_size": TermWeight(1.0)},
        size=64, steps=1, rates={"deformation": 0.1},
    )  # fmt: skip
    start, after, _ = solve(("deformation",), settings, level="coarse")
    # Adam's first step is the rate, against the sign of the gradient: towards zero everywhere
    used = (start.deformation != 0) & (after.deformation != start.deformation)
    assert bool(
        (after.deformation[used].abs() < start.deformation[used].abs()).float().mean() > 0.9
    )


def test_blurring_the_albedo_is_for_the_solve_only():
    settings = FirstOrderSettings(terms=LIGHT.terms, size=64, steps=3, albedo_blur=0.05)
    start, after, blurred = solve(("light",), settings)
    _, _, sharp = solve(("light",), FirstOrderSettings(terms=LIGHT.terms, size=64, steps=3))
    assert torch.equal(after.albedo_map, start.albedo_map)
    assert blurred.energies[0] > sharp.energies[0]


def own_albedo(scene, state) -> torch.Tensor:
    return scene.predict(state, 64).albedo_map


def test_the_deretouched_albedo_is_compared_with_under_light_of_its_own():
    """Twice the albedo under half the light explains the photographs as well; the state keeps what it had."""
    scene, state = truth_scene()
    scene = replace(scene, deretouched=2.0 * own_albedo(scene, state))
    settings = replace(LIGHT, albedo="deretouched", steps=3)
    after, solution = solve_first_order(scene, state, ("displacement",), settings, "fine", "adam")
    _, plain = solve_first_order(
        scene, state, ("displacement",), replace(LIGHT, steps=3), "fine", "adam"
    )
    assert solution.energies[0] == pytest.approx(plain.energies[0], rel=0.1)
    assert torch.equal(after.albedo_map, state.albedo_map)
    assert torch.equal(after.light, state.light)
    lit, _ = solve_first_order(scene, state, ("light",), settings, "fine", "adam")
    assert float(lit.light[0, 0].mean()) == pytest.approx(
        float(state.light[0, 0].mean()) / 2, rel=0.15
    )


def test_without_a_network_the_stage_is_that_of_the_fitted_albedo_to_the_bit():
    scene, state = truth_scene()
    assert scene.deretouched is None
    blurred = replace(LIGHT, albedo_blur=0.05, steps=3)
    once, again = (
        solve_first_order(scene, state, ("displacement",), s, "fine", "adam")
        for s in (blurred, replace(blurred, albedo="deretouched"))
    )
    assert torch.equal(once[0].displacement, again[0].displacement)
    assert once[1].energies == again[1].energies


def test_progress_and_outcome_are_told():
    seen = []
    _, _, solution = solve(("light",), progress=lambda k, e: seen.append((k, e)))
    assert [k for k, _ in seen] == [0, 10]
    assert solution.outcome in (Outcome.MAX_STEPS, Outcome.CONVERGED)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="unknown term 'photmetric'; did you mean 'photometric'"):
        FirstOrderSettings(terms={"photmetric": TermWeight(1.0)})
    with pytest.raises(ValueError, match="albedo: expected 'fitted' or 'deretouched', got 'raw'"):
        FirstOrderSettings(terms=LIGHT.terms, albedo="raw")
    with pytest.raises(ValueError, match="needs at least one"):
        FirstOrderSettings()
    with pytest.raises(ValueError, match="rates: 'ligth' is no leaf; did you mean 'light'"):
        FirstOrderSettings(terms=LIGHT.terms, rates={"ligth": 0.1})
    with pytest.raises(ValueError, match="kernel 'hubr' of 'photometric'; did you mean 'huber'"):
        FirstOrderSettings(terms={"photometric": TermWeight(1.0, kernel="hubr")})


@pytest.mark.parametrize("name", sorted(TERMS))
def test_every_term_of_a_recipe_is_made_under_its_name_and_evaluates(name):
    scene, state = truth_scene()
    prediction = scene.predict(state, 64, "fine")
    term = make_term(name, "ibug68", {}, SmallEmbedding())
    assert isinstance(term, Term)
    assert term.name == name or name in ("contour", "contour_rows")
    residuals = term.residuals(prediction, scene.windows(64))
    assert residuals.values.shape == residuals.validity.shape
    assert bool(torch.isfinite(residuals.values[residuals.validity > 0]).all())


@pytest.mark.parametrize("name", sorted(set(TERMS) - {"perceptual"}))
def test_a_term_that_is_first_to_read_a_prediction_leaves_its_gradients_in_it(name):
    """Whatever a term holds constant, what it read on the way must not be kept without a gradient."""
    scene, truth = truth_scene()
    slopes = []
    for warm in (False, True):
        leaves = {
            n: getattr(truth, n).clone().requires_grad_() for n in ("identity", "pose", "light")
        }
        prediction = scene.predict(truth.replace(**leaves), 64)
        if warm:
            assert prediction.points.requires_grad
            assert prediction.normals.requires_grad
        term = make_term(name, scene.windows(64).landmark_scheme, {})
        residuals = term.residuals(prediction, scene.windows(64))
        total = residuals.values.nan_to_num(0.0).sum() + prediction.points.square().mean()
        total = total + prediction.normals.square().sum() + prediction.image.sum()
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        slopes.append([None if g is None else g.clone() for g in found])
    for fresh, read in zip(*slopes, strict=True):
        assert fresh is not None
        assert read is not None
        torch.testing.assert_close(fresh, read, rtol=1e-4, atol=1e-4 * float(read.abs().max()))
