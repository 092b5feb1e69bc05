import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from hrnfit.solve.first_order import LBFGS, Adam, schedule_factor
from hrnfit.solve.loop import Loop
from hrnfit.solve.solver import Leaves, Outcome


def bowl(leaves: Leaves) -> tuple[Tensor, dict[str, Tensor]]:
    """Minimum 0 at a = 1, b = (-2, 3); b is a hundred times flatter."""
    goal = torch.tensor([-2.0, 3.0], dtype=leaves["b"].dtype)
    terms = {
        "near": (leaves["a"] - 1).square().sum(),
        "far": (leaves["b"] - goal).square().sum() / 100,
    }
    return terms["near"] + terms["far"], terms


def start() -> Leaves:
    return {"a": torch.zeros(1), "b": torch.zeros(2)}


SOLVERS = {
    "adam": Adam({"a": 0.05, "b": 0.1}, loop=Loop(steps=300)),
    "lbfgs": LBFGS({"b": 10.0}),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_reaches_the_minimum_and_keeps_the_start(name):
    leaves = start()
    solution = SOLVERS[name].minimize(bowl, leaves)
    assert torch.allclose(solution.leaves["a"], torch.tensor([1.0]), atol=1e-2)
    assert torch.allclose(solution.leaves["b"], torch.tensor([-2.0, 3.0]), atol=5e-2)
    assert torch.equal(leaves["a"], torch.zeros(1))
    assert not solution.leaves["a"].requires_grad
    assert solution.energies[-1] < 1e-3 * solution.energies[0]


def test_records_every_tenth_step_and_reports_progress():
    seen = []
    solution = Adam({"a": 0.05, "b": 0.1}, loop=Loop(steps=41, record_every=10)).minimize(
        bowl, start(), lambda step, energy: seen.append((step, energy))
    )
    assert [step for step, _ in seen] == [0, 10, 20, 30, 40]
    assert len(solution.energies) == 6  # five records and the end
    assert len(solution.terms["near"]) == 5
    assert solution.terms["near"][0] == pytest.approx(1.0)
    assert seen[0][1] == pytest.approx(1.13)
    assert solution.outcome is Outcome.MAX_STEPS


def test_first_step_is_the_rate_of_each_leaf():
    adam = Adam({"a": 0.05, "b": 0.1}, schedule="constant", loop=Loop(steps=1))
    moved = adam.minimize(bowl, start()).leaves
    assert torch.allclose(moved["a"], torch.tensor([0.05]))
    assert torch.allclose(moved["b"], torch.tensor([-0.1, 0.1]))


def test_converges_when_the_energy_settles():
    loop = Loop(steps=5000, record_every=5, tolerance=1e-4)
    adam = Adam({"a": 0.05, "b": 0.1}, schedule="constant", loop=loop)
    solution = adam.minimize(lambda x: (bowl(x)[0] + 1.0, {}), start())
    assert solution.outcome is Outcome.CONVERGED
    assert solution.steps < 1000


def cliff(leaves: Leaves) -> tuple[Tensor, dict[str, Tensor]]:
    """log x - falls towards zero, NaN below: a rate of 0.3 jumps over the edge from 0.2."""
    x = leaves["x"]
    return (x.log() + 0.0 * x).sum(), {}


def test_nan_rolls_back_with_smaller_rates_and_ends_finite():
    adam = Adam(
        {"x": 0.3}, schedule="constant", loop=Loop(steps=60, record_every=1, max_rollbacks=3)
    )
    solution = adam.minimize(cliff, {"x": torch.tensor([1.0])})
    assert solution.outcome is Outcome.NON_FINITE
    assert torch.isfinite(solution.leaves["x"]).all()
    assert 0 < float(solution.leaves["x"]) <= 0.11
    assert all(math.isfinite(energy) for energy in solution.energies)


def test_one_passing_nan_is_survived():
    calls = []

    def glitch(leaves: Leaves) -> tuple[Tensor, dict[str, Tensor]]:
        calls.append(1)
        total, terms = bowl(leaves)
        return (total * float("nan") if len(calls) == 30 else total), terms

    adam = Adam({"a": 0.05, "b": 0.1}, loop=Loop(steps=400))
    solution = adam.minimize(glitch, start())
    assert solution.outcome is Outcome.MAX_STEPS
    assert torch.allclose(solution.leaves["a"], torch.tensor([1.0]), atol=2e-2)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_non_finite_start_comes_back_unchanged(name):
    solution = SOLVERS[name].minimize(lambda x: (bowl(x)[0] * float("nan"), {}), start())
    assert solution.outcome is Outcome.NON_FINITE
    assert torch.equal(solution.leaves["a"], torch.zeros(1))


def test_best_state_is_kept_when_the_last_is_worse():
    def away(leaves: Leaves) -> tuple[Tensor, dict[str, Tensor]]:
        # the gradient points uphill
        x = leaves["x"]
        return (2 * x.detach().square() - x.square()).sum(), {}

    adam = Adam({"x": 0.1}, schedule="constant", loop=Loop(steps=10, record_every=1))
    assert torch.allclose(
        adam.minimize(away, {"x": torch.tensor([1.0])}).leaves["x"], torch.tensor([1.0])
    )


def test_a_leaf_without_rate_is_an_error():
    with pytest.raises(ValueError, match="none given for b"):
        Adam({"a": 0.1}).minimize(bowl, start())
    with pytest.raises(ValueError, match="scales for c, but free are a, b"):
        LBFGS({"c": 0.1}).minimize(bowl, start())


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_schedules_fall_from_one_to_last(schedule):
    factors = [schedule_factor(schedule, f / 10, 0.1) for f in range(11)]
    assert factors[0] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.1)
    assert all(b < a for a, b in pairwise(factors))
