"""Gauss-Newton steps: the optimum of a quadratic, limits on a step, the best state kept."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hrnfit.solve.gauss_newton import GaussNewton
from hrnfit.solve.solver import Outcome

TARGET = {"map": torch.tensor([[[3.0, -4.0, 0.0]]]), "row": torch.tensor([[6.0, 8.0, 0.5]])}


def energy(leaves: dict[str, Tensor]):
    total = sum((0.5 * (leaves[n] - TARGET[n]).square().sum() for n in leaves), torch.zeros(()))
    return total, {"distance": total}


def propose(leaves: dict[str, Tensor], share: float = 1.0):
    """The exact step times `share`, shortened by damping as a unit diagonal is."""
    return energy(leaves), lambda damping: {
        n: share * (TARGET[n] - leaf) / (1.0 + damping) for n, leaf in leaves.items()
    }


def zeros(*names: str) -> dict[str, Tensor]:
    return {n: torch.zeros_like(TARGET[n]) for n in names or TARGET}


def test_a_quadratic_takes_one_step():
    solution = GaussNewton(steps=1, damping=0.0).minimize(propose, energy, zeros())
    for name, leaf in solution.leaves.items():
        assert torch.allclose(leaf, TARGET[name])
    assert solution.energies[0] == pytest.approx(12.5 + 50.125)
    assert solution.energies[-1] == pytest.approx(0.0, abs=1e-12)
    assert solution.terms["distance"][0] == solution.energies[0]


def test_vectors_of_a_map_are_shortened_and_keep_their_direction():
    solution = GaussNewton(steps=1, damping=0.0, limits={"map": 1.0}).minimize(
        propose, energy, zeros("map")
    )
    assert torch.allclose(solution.leaves["map"], torch.tensor([[[0.6, -0.8, 0.0]]]))


def test_values_of_other_leaves_are_clipped_one_by_one():
    solution = GaussNewton(steps=1, damping=0.0, limits={"row": 2.0}).minimize(
        propose, energy, zeros("row")
    )
    assert torch.allclose(solution.leaves["row"], torch.tensor([[2.0, 2.0, 0.5]]))


def test_a_map_of_heights_is_limited_texel_by_texel():
    """A displacement map (K, H, W): its rows are no vectors, whatever their length."""
    target = torch.full((1, 4, 5), 0.2)
    target[0, 0, 0] = 2.0

    def heights(leaves):
        total = 0.5 * (leaves["displacement"] - target).square().sum()
        return total, {}

    def towards(leaves):
        return heights(leaves), lambda _: {"displacement": target - leaves["displacement"]}

    start = {"displacement": torch.zeros_like(target)}
    solver = GaussNewton(steps=1, damping=0.0, limits={"displacement": 0.3})
    solution = solver.minimize(towards, heights, start)
    assert torch.allclose(solution.leaves["displacement"], target.clamp_max(0.3))


def test_start_is_not_changed_and_progress_is_told():
    start, seen = zeros(), []
    GaussNewton(steps=2).minimize(propose, energy, start, lambda k, e: seen.append((k, e)))
    assert all(bool((leaf == 0).all()) for leaf in start.values())
    assert seen[0] == (0, pytest.approx(62.625))


def test_a_step_that_overshoots_is_damped_until_it_helps():
    solver = GaussNewton(steps=1, damping=0.5)
    solution = solver.minimize(lambda x: propose(x, share=12.0), energy, zeros())
    # damped by 0.5 the step is 8 times too long, by 5 exactly twice: no lower; by 50 a quarter
    share = 12.0 / 51.0
    assert torch.allclose(solution.leaves["map"], share * TARGET["map"])
    assert solution.energies[-1] == pytest.approx((1 - share) ** 2 * solution.energies[0], rel=1e-5)


def test_nothing_moves_when_no_damping_helps():
    solution = GaussNewton(steps=3).minimize(lambda x: propose(x, share=-1.0), energy, zeros())
    assert all(bool((leaf == 0).all()) for leaf in solution.leaves.values())


def test_damping_falls_after_a_success():
    asked: list[float] = []

    def watched(leaves):
        evaluated, step = propose(leaves, share=0.1)
        return evaluated, lambda damping: asked.append(damping) or step(damping)

    GaussNewton(steps=3, damping=1e-1).minimize(watched, energy, zeros())
    assert asked == pytest.approx([1e-1, 1e-2, 1e-3])


def test_steps_that_no_longer_help_end_the_solve():
    solution = GaussNewton(steps=50).minimize(lambda x: propose(x, 1e-4), energy, zeros())
    assert solution.outcome is Outcome.CONVERGED
    assert solution.steps == 4


def test_nan_is_reported_and_the_last_good_state_kept():
    """Looking anew before a step may meet what the trial of the last step did not."""
    looks = []

    def broken(leaves):
        looks.append(1)
        (value, terms), step = propose(leaves, 0.1)
        return (value * (math.nan if len(looks) > 2 else 1.0), terms), step

    solution = GaussNewton(steps=20).minimize(broken, energy, zeros())
    assert solution.outcome is Outcome.NON_FINITE
    assert all(bool(torch.isfinite(leaf).all()) for leaf in solution.leaves.values())


def wandering(values: list[float]):
    """Energies told in turn, whatever the leaves: each proposal, then its trial."""
    told = iter(values)

    def now(leaves: dict[str, Tensor]):
        total = torch.tensor(next(told), dtype=torch.float64)
        return total, {"told": total}

    def proposed(leaves: dict[str, Tensor]):
        return now(leaves), lambda damping: {"row": torch.ones_like(leaves["row"])}

    return proposed, now


@pytest.mark.parametrize(("slack", "where"), [(0.0, 0.0), (0.005, 0.0), (0.02, 1.0)])
def test_a_step_may_raise_the_energy_by_the_slack(slack, where):
    tries = [100.0, *([101.0] * 5), 101.0] if where == 0.0 else [100.0, 101.0, 101.0]
    proposed, now = wandering(tries)
    solver = GaussNewton(steps=1, tolerance=0.0, slack=slack)
    solution = solver.minimize(proposed, now, zeros("row"))
    assert torch.equal(solution.leaves["row"], torch.full((1, 3), where))


@pytest.mark.parametrize(("last", "where"), [(103.9, 2.0), (104.1, 0.0)])
def test_the_last_state_stands_within_what_all_steps_may_add(last, where):
    """Two steps of 2 %: the first state, of 100, is taken back above 104."""
    proposed, now = wandering([100.0, 101.0, 102.0, 103.0, last])
    solver = GaussNewton(steps=2, tolerance=0.0, slack=0.02)
    solution = solver.minimize(proposed, now, zeros("row"))
    assert torch.equal(solution.leaves["row"], torch.full((1, 3), where))
