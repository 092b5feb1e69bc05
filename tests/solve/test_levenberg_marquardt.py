from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from hrnfit.solve.block import Layout, NormalEquations, QuadraticBlock, energy, normal_equations
from hrnfit.solve.forward_mode import ForwardBlock
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Outcome


@dataclass(frozen=True)
class Rosenbrock:
    """Residuals 10 (y - x^2) and 1 - x: minimum 0 at (1, 1), along a curved valley."""

    slots: tuple[tuple[str, int | None], ...] = (("x", None),)

    def residual(self, x: Tensor) -> Tensor:
        return torch.stack([10 * (x[..., 1] - x[..., 0] ** 2), 1 - x[..., 0]], -1)

    def linearize(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        J = x.new_zeros(*x.shape[:-1], 2, 2)
        J[..., 0, 0], J[..., 0, 1], J[..., 1, 0] = -20 * x[..., 0], 10.0, -1.0
        return self.residual(x), (J,)


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_curved_valley():
    solution = LevenbergMarquardt().minimize([Rosenbrock()], {"x": vector(-1.2, 1.0)})
    assert solution.outcome is Outcome.CONVERGED
    assert torch.allclose(solution.leaves["x"], vector(1.0, 1.0), atol=1e-6)
    assert all(b < a for a, b in zip(solution.energies, solution.energies[1:], strict=False))


def test_normal_equations_by_hand():
    # residuals (x0 - 1) / 2 and y0: energy 1/2 (1/4 + 9), row 1 of y untouched
    blocks = [
        QuadraticBlock(("x", None), vector(1.0), vector(2.0)),
        QuadraticBlock(("y", 0), vector(0.0), vector(1.0)),
    ]
    leaves = {"x": vector(2.0), "y": torch.tensor([[3.0], [5.0]], dtype=torch.float64)}
    found = normal_equations(blocks, leaves)
    assert float(found.energy) == pytest.approx(4.625)
    assert torch.allclose(found.gradient, vector(0.25, 3.0, 0.0))
    assert torch.allclose(found.hessian, torch.diag(vector(0.25, 1.0, 0.0)))
    assert torch.allclose(energy(blocks, leaves), found.energy)


def test_two_blocks_of_one_slot_add_up():
    blocks = [QuadraticBlock(("x", None), vector(m), vector(1.0)) for m in (0.0, 4.0)]
    solution = LevenbergMarquardt().minimize(blocks, {"x": vector(9.0)})
    assert float(solution.leaves["x"]) == pytest.approx(2.0)


def test_layout_round_trip(generator):
    leaves = {"a": torch.randn(2, 3, generator=generator), "b": torch.randn(4, generator=generator)}
    layout = Layout.of(leaves)
    back = layout.unpack(layout.pack(leaves))
    assert all(torch.equal(back[name], leaves[name]) for name in leaves)
    assert layout.columns(("a", 1)) == slice(3, 6)


def test_bounds_hold_and_the_others_still_reach_their_best():
    def coupled(x: Tensor) -> Tensor:
        return torch.stack([x[0] + x[1] - 3.0, 0.1 * (x[0] - x[1])])

    block = ForwardBlock((("x", None),), coupled)
    solution = LevenbergMarquardt().minimize([block], {"x": vector(0.5, 0.5)}, {"x": (0.0, 1.0)})
    assert torch.allclose(solution.leaves["x"], vector(1.0, 1.0))
    pulled = QuadraticBlock(("x", None), vector(-5.0, 0.3), vector(1.0, 1.0))
    solution = LevenbergMarquardt().minimize([pulled], {"x": vector(0.5, 0.9)}, {"x": (0.0, 1.0)})
    assert torch.allclose(solution.leaves["x"], vector(0.0, 0.3))


def test_bounds_of_strongly_coupled_unknowns(generator):
    # nearly parallel columns: a component that is clipped alone throws the others far off
    common = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    mixed = torch.randn(4, 30, generator=generator, dtype=torch.float64)
    A = common @ mixed + 0.002 * torch.randn(60, 30, generator=generator, dtype=torch.float64)
    b = A @ torch.linspace(-1.0, 1.5, 30, dtype=torch.float64)
    expected = lsq_linear(A.numpy(), b.numpy(), bounds=(0.0, 1.0), tol=1e-14)

    def linearize(leaves):
        r = A @ leaves["x"] - b
        return NormalEquations(0.5 * r.square().sum(), A.T @ A, A.T @ r)

    solution = LevenbergMarquardt(max_steps=60).minimize_function(
        linearize,
        lambda leaves: 0.5 * (A @ leaves["x"] - b).square().sum(),
        {"x": torch.full((30,), 0.5, dtype=torch.float64)},
        {"x": (0.0, 1.0)},
    )
    assert solution.outcome is Outcome.CONVERGED
    assert solution.energies[-1] == pytest.approx(float(expected.cost), rel=1e-6)


def test_bounds_of_unknown_leaf_are_an_error():
    with pytest.raises(ValueError, match=r"bounds for \['y'\]"):
        LevenbergMarquardt().minimize([Rosenbrock()], {"x": vector(0, 0)}, {"y": (0.0, 1.0)})


def test_a_block_over_a_leaf_that_is_not_free_is_an_error():
    block = QuadraticBlock(("z", None), vector(0.0), vector(1.0))
    with pytest.raises(ValueError, match="reads 'z', which is not free"):
        normal_equations([block], {"x": vector(0.0)})


def test_steps_into_infinity_are_refused():
    # log of a negative number is NaN: the full step from 5 leads there, the damped one does not
    block = ForwardBlock((("x", None),), lambda x: x.log())
    solution = LevenbergMarquardt().minimize([block], {"x": vector(5.0)})
    assert solution.outcome is Outcome.CONVERGED
    assert float(solution.leaves["x"]) == pytest.approx(1.0)


def test_a_non_finite_start_is_returned_as_it_was():
    block = ForwardBlock((("x", None),), lambda x: x.log())
    solution = LevenbergMarquardt().minimize([block], {"x": vector(-1.0)})
    assert solution.outcome is Outcome.NON_FINITE
    assert float(solution.leaves["x"]) == -1.0


def test_a_start_at_the_optimum_converges_without_a_step():
    solution = LevenbergMarquardt().minimize([Rosenbrock()], {"x": vector(1.0, 1.0)})
    assert (solution.outcome, solution.steps) == (Outcome.CONVERGED, 0)


def test_a_wrong_jacobian_stalls():
    @dataclass(frozen=True)
    class Wrong(Rosenbrock):
        def linearize(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            residual, (J,) = super().linearize(x)
            return residual, (-J,)

    solution = LevenbergMarquardt().minimize([Wrong()], {"x": vector(-1.2, 1.0)})
    assert solution.outcome is Outcome.STALLED


def test_step_limit_is_reported():
    solution = LevenbergMarquardt(max_steps=2).minimize([Rosenbrock()], {"x": vector(-1.2, 1.0)})
    assert (solution.outcome, solution.steps) == (Outcome.MAX_STEPS, 2)


def test_float32(generator):
    block = QuadraticBlock(("x", None), torch.ones(3), torch.full((3,), 1e-3))
    solution = LevenbergMarquardt().minimize([block], {"x": torch.zeros(3)})
    assert solution.leaves["x"].dtype is torch.float32
    assert torch.allclose(solution.leaves["x"], torch.ones(3), atol=1e-5)
