"""The solver whose decisions are tensors, against the one whose decisions are the host's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from hrnfit.solve.block import Block, Layout, NormalEquations, QuadraticBlock, normal_equations
from hrnfit.solve.forward_mode import ForwardBlock
from hrnfit.solve.levenberg_marquardt import Bounds, LevenbergMarquardt
from hrnfit.solve.queued_lm import PackedProblem, packed
from hrnfit.solve.solver import Leaves, Outcome, Solution
from tests.solve.test_levenberg_marquardt import Rosenbrock, vector

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def queued(
    solver: LevenbergMarquardt,
    linearize: Callable[[Leaves], NormalEquations],
    leaves: Leaves,
    bounds: Bounds | None = None,
) -> Solution:
    layout = Layout.of(leaves)
    problem = PackedProblem(lambda x: packed(linearize(layout.unpack(x))))
    return solver.minimize_packed(problem, leaves, bounds)


def same(
    blocks: list[Block],
    leaves: Leaves,
    bounds: Bounds | None = None,
    solver: LevenbergMarquardt | None = None,
) -> Solution:
    """The queued solution, checked against the host's step by step."""
    solver = solver or LevenbergMarquardt()
    host = solver.minimize(blocks, leaves, bounds)
    found = queued(solver, lambda x: normal_equations(blocks, x), leaves, bounds)
    assert found.outcome is host.outcome
    assert found.energies == pytest.approx(host.energies, rel=1e-6, abs=1e-25, nan_ok=True)
    for name, leaf in host.leaves.items():
        assert torch.allclose(found.leaves[name], leaf, rtol=1e-7, atol=1e-9, equal_nan=True)
    return found


@dataclass(frozen=True)
class Linear:
    """Residuals A x - b."""

    A: Tensor
    b: Tensor
    slots: tuple[tuple[str, int | None], ...] = (("x", None),)

    def residual(self, x: Tensor) -> Tensor:
        return x @ self.A.T - self.b

    def linearize(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.residual(x), (self.A.expand(*x.shape[:-1], *self.A.shape),)


def test_curved_valley_with_its_refusals():
    found = same([Rosenbrock()], {"x": vector(-1.2, 1.0)})
    assert found.outcome is Outcome.CONVERGED
    assert found.steps > 5


def test_step_limits():
    for most in (0, 1, 2, 3, 7):
        solver = LevenbergMarquardt(max_steps=most)
        found = same([Rosenbrock()], {"x": vector(-1.2, 1.0)}, solver=solver)
        assert (found.outcome, found.steps) == (Outcome.MAX_STEPS, most)


def test_a_start_at_the_optimum():
    found = same([Rosenbrock()], {"x": vector(1.0, 1.0)})
    assert (found.outcome, found.steps) == (Outcome.CONVERGED, 0)


def test_steps_into_infinity_are_refused():
    found = same([ForwardBlock((("x", None),), lambda x: x.log())], {"x": vector(5.0)})
    assert float(found.leaves["x"]) == pytest.approx(1.0)


def test_a_non_finite_start():
    found = same([ForwardBlock((("x", None),), lambda x: x.log())], {"x": vector(-1.0)})
    assert found.outcome is Outcome.NON_FINITE
    assert float(found.leaves["x"]) == -1.0


def test_a_wrong_jacobian_stalls():
    @dataclass(frozen=True)
    class Wrong(Rosenbrock):
        def linearize(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            residual, (J,) = super().linearize(x)
            return residual, (-J,)

    found = same([Wrong()], {"x": vector(-1.2, 1.0)})
    assert (found.outcome, found.steps) == (Outcome.STALLED, 0)


def test_bounds():
    pulled = QuadraticBlock(("x", None), vector(-5.0, 0.3), vector(1.0, 1.0))
    found = same([pulled], {"x": vector(0.5, 0.9)}, {"x": (0.0, 1.0)})
    assert torch.allclose(found.leaves["x"], vector(0.0, 0.3))
    free = QuadraticBlock(("y", None), vector(4.0), vector(1.0))
    found = same([pulled, free], {"x": vector(2.0, -9.0), "y": vector(0.0)}, {"x": (0.0, 1.0)})
    assert torch.allclose(found.leaves["y"], vector(4.0))
    with pytest.raises(ValueError, match=r"bounds for \['z'\]"):
        queued(LevenbergMarquardt(), lambda x: normal_equations([free], x), found.leaves, {"z": (0, 1)})  # fmt: skip


def test_bounds_of_strongly_coupled_unknowns(generator):
    common = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    mixed = torch.randn(4, 30, generator=generator, dtype=torch.float64)
    A = common @ mixed + 0.002 * torch.randn(60, 30, generator=generator, dtype=torch.float64)
    b = A @ torch.linspace(-1.0, 1.5, 30, dtype=torch.float64)
    block = Linear(A, b)
    start = {"x": torch.full((30,), 0.5, dtype=torch.float64)}
    found = same([block], start, {"x": (0.0, 1.0)}, LevenbergMarquardt(max_steps=60))
    assert found.outcome is Outcome.CONVERGED
    on_bounds = (found.leaves["x"] == 0.0) | (found.leaves["x"] == 1.0)
    assert int(on_bounds.sum()) > 3


def test_float32():
    block = QuadraticBlock(("x", None), torch.ones(3), torch.full((3,), 1e-3))
    found = same([block], {"x": torch.zeros(3)})
    assert found.leaves["x"].dtype is torch.float32


@needs_gpu
def test_a_gpu_records_it_and_ends_where_the_cpu_does():
    def linearize(x: Tensor, centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r = torch.stack([10 * (x[1] - x[0] ** 2), centre - x[0]])
        one, zero = torch.ones_like(centre), torch.zeros_like(centre)
        J = torch.stack([torch.stack([-20 * x[0], 10 * one]), torch.stack([-one, zero])])
        return 0.5 * r @ r, J.T @ J, J.T @ r

    solver = LevenbergMarquardt(max_steps=60)
    for centre in (1.0, 1.0, 0.7):  # the second and third are replays
        found = []
        for device in ("cpu", "cuda"):
            at = torch.tensor(centre, dtype=torch.float64, device=device)
            problem = PackedProblem(linearize, (at,), key="rosenbrock")
            leaves = {"x": vector(-1.2, 1.0).to(device)}
            for bounds in (None, {"x": (-2.0, 0.9)}):
                found.append(solver.minimize_packed(problem, leaves, bounds))
        for host, there in zip(found[:2], found[2:], strict=True):
            assert there.outcome is host.outcome
            assert torch.allclose(there.leaves["x"].cpu(), host.leaves["x"], atol=1e-8)


@needs_gpu
def test_leaves_on_a_gpu_are_solved_for_there():
    leaves = {"x": vector(-1.2, 1.0).cuda()}
    found = LevenbergMarquardt().minimize([Rosenbrock()], leaves)
    assert found.leaves["x"].device.type == "cuda"
    assert torch.allclose(found.leaves["x"].cpu(), vector(1.0, 1.0), atol=1e-6)
    capped = replace(LevenbergMarquardt(), max_steps=2).minimize([Rosenbrock()], leaves)
    assert capped.outcome is Outcome.MAX_STEPS
