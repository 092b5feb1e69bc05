"""The differentiable solver: agreement with our own, gradients against finite differences."""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBasis, LandmarkBlock
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.solve.block import Block, QuadraticBlock
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves, Outcome
from hrnfit.solve.theseus_lm import TheseusLM

POINTS, IDENTITY, EXPRESSION, VIEWS = 20, 3, 2, 2
DOUBLE = {"dtype": torch.float64}


def problem(generator: torch.Generator, kernel: str = "huber") -> tuple[list[Block], Leaves]:
    """A head of 20 points in two calibrated views with noise; priors on everything but the pose."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, **DOUBLE)

    basis = LandmarkBasis(
        40 * noise(POINTS, 3), 4 * noise(IDENTITY, POINTS, 3), 4 * noise(EXPRESSION, POINTS, 3)
    )
    K = torch.tensor([[1400.0, 0, 500], [0, 1400, 500], [0, 0, 1]], **DOUBLE)
    truth = (
        0.5 * noise(IDENTITY),
        0.5 * noise(EXPRESSION),
        0.1 * noise(6),
        torch.zeros(1, **DOUBLE),
    )
    blocks: list[Block] = []
    for view in range(VIEWS):
        turn = torch.tensor([0.0, 0.5 * view, 0, 0, 0, 700], **DOUBLE)
        block = LandmarkBlock(
            slots=(("identity", None), ("expression", 0), ("pose", 0), ("log_focal", view)),
            basis=basis,
            pose_reference=torch.eye(4, **DOUBLE),
            T_cam_world=pose_matrix(turn, torch.eye(4, **DOUBLE)),
            K=K,
            pixels=torch.zeros(POINTS, 2, **DOUBLE),
            metric=torch.eye(2, **DOUBLE).expand(POINTS, 2, 2) * (700 / 1400 / 2.0),
            weight=torch.ones(POINTS, **DOUBLE),
            kernel=kernel,
        )
        _, seen = block._raw(block._camera_points(*truth[:3])[1], truth[3])
        blocks.append(replace(block, pixels=seen + 2.0 * noise(POINTS, 2)))
    sizes = {"identity": (IDENTITY,), "expression": (1, EXPRESSION), "pose": (1, 6)}
    leaves = {name: torch.zeros(shape, **DOUBLE) for name, shape in sizes.items()}
    leaves["log_focal"] = torch.zeros(VIEWS, 1, **DOUBLE)
    blocks += [
        QuadraticBlock(
            ("identity", None), torch.zeros(IDENTITY, **DOUBLE), torch.ones(3, **DOUBLE)
        ),
        QuadraticBlock(("expression", 0), torch.zeros(2, **DOUBLE), torch.ones(2, **DOUBLE)),
    ]
    for view in range(VIEWS):
        zero = torch.zeros(1, **DOUBLE)
        blocks.append(QuadraticBlock(("log_focal", view), zero, torch.full_like(zero, 0.05)))
    return blocks, leaves


@pytest.mark.parametrize("kernel", ["square", "huber", "geman_mcclure"])
def test_same_optimum_as_our_own(kernel, generator):
    blocks, leaves = problem(generator, kernel)
    ours = LevenbergMarquardt(tolerance=1e-12, max_steps=200).minimize(blocks, leaves)
    theirs = TheseusLM(tolerance=1e-12, max_steps=200).minimize(blocks, leaves)
    assert ours.outcome is Outcome.CONVERGED
    assert theirs.energies[-1] == pytest.approx(ours.energies[-1], rel=1e-7)
    for name, leaf in ours.leaves.items():
        assert torch.allclose(theirs.leaves[name], leaf, atol=2e-4), name


@dataclass(frozen=True)
class Curve:
    """One residual f(x - shift) of one unknown, with f far from linear."""

    f: Callable[[Tensor], Tensor]
    shift: Tensor
    slots: tuple[tuple[str, int | None], ...] = (("x", None),)

    def residual(self, *values: Tensor) -> Tensor:
        return self.f(values[0] - self.shift)

    def linearize(self, *values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        slope = torch.func.jvp(self.f, (values[0] - self.shift,), (torch.ones_like(values[0]),))[1]
        return self.residual(*values), (slope[..., None],)


@pytest.mark.parametrize("backward", ["implicit", "unroll"])
def test_a_last_step_that_raises_the_energy_is_put_back(backward):
    """Newton's step of the arc tangent overshoots beyond 1.39; two steps from 3 do not get there."""
    shift = torch.zeros(1, **DOUBLE, requires_grad=True)
    solver = TheseusLM(max_steps=2, damping=1.0, backward=backward)
    solution = solver.minimize([Curve(torch.atan, shift)], {"x": torch.full((1,), 3.0, **DOUBLE)})
    x = solution.leaves["x"]
    assert 1.39 < float(x.detach()) < 3.0
    assert solution.energies[-1] == pytest.approx(0.5 * float(x.detach().atan()) ** 2)
    assert solution.energies[-1] < solution.energies[0]
    (gradient,) = torch.autograd.grad(x.sum(), shift)
    assert torch.isfinite(gradient).all()
    assert float(gradient) != 0.0


def test_gradients_of_a_step_that_was_put_back_are_those_of_the_best_state():
    """With its Hessian held, Newton's step -J r / J^2 changes with the shift by d(J r) / dx / J^2."""
    shift = torch.zeros(1, **DOUBLE, requires_grad=True)
    solver = TheseusLM(max_steps=2, damping=1.0)
    start = {"x": torch.full((1,), 3.0, **DOUBLE)}
    x = solver.minimize([Curve(torch.atan, shift)], start).leaves["x"]
    (gradient,) = torch.autograd.grad(x.sum(), shift)
    at = float(x.detach())
    slope = 1.0 / (1.0 + at**2)
    curvature = -2.0 * at * slope**2
    expected = (slope**2 + math.atan(at) * curvature) / slope**2
    assert float(gradient) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("backward", ["implicit", "unroll"])
def test_rejected_first_steps_are_not_the_end(backward):
    """Newton's step from 3 ends at -9.5, higher up, and so do four with more damping."""
    block = Curve(torch.atan, torch.zeros(1, **DOUBLE))
    solver = TheseusLM(max_steps=40, damping=1e-6, tolerance=1e-9, backward=backward)
    solution = solver.minimize([block], {"x": torch.full((1,), 3.0, **DOUBLE)})
    assert solution.energies[1] == solution.energies[0]
    assert abs(float(solution.leaves["x"])) < 1e-4


def distance_of_logarithms(x: Tensor) -> Tensor:
    """The first undamped step from 3 towards 0.1 ends below 0."""
    return x.log() - math.log(0.1)


@pytest.mark.parametrize("backward", ["implicit", "unroll"])
def test_no_step_leads_to_a_non_finite_energy(backward):
    shift = torch.zeros(1, **DOUBLE, requires_grad=True)
    block = Curve(distance_of_logarithms, shift)
    solver = TheseusLM(max_steps=40, damping=0.1, backward=backward)
    solution = solver.minimize([block], {"x": torch.full((1,), 3.0, **DOUBLE)})
    assert solution.outcome is not Outcome.NON_FINITE
    assert float(solution.leaves["x"].detach()) == pytest.approx(0.1, abs=1e-4)
    (gradient,) = torch.autograd.grad(solution.leaves["x"].sum(), shift)
    assert float(gradient) == pytest.approx(1.0, abs=1e-3)


def test_a_start_that_is_not_finite_is_named():
    start = {"x": torch.full((1,), -3.0, **DOUBLE)}
    solution = TheseusLM().minimize(
        [Curve(distance_of_logarithms, torch.zeros(1, **DOUBLE))], start
    )
    assert solution.outcome is Outcome.NON_FINITE
    assert torch.equal(solution.leaves["x"], start["x"])


def shape_after_fit(
    solver: TheseusLM, blocks: list[Block], leaves: Leaves, shift: Tensor
) -> Tensor:
    """A number of the fitted identity when the landmarks of view 0 move by `shift` px."""
    moved = replace(blocks[0], pixels=blocks[0].pixels + shift)  # type: ignore[type-var]
    identity = solver.minimize([moved, *blocks[1:]], leaves).leaves["identity"]
    return (identity * torch.tensor([1.0, -2.0, 0.5], **DOUBLE)).sum()


@pytest.mark.parametrize(("backward", "tolerance"), [("unroll", 1e-4), ("implicit", 0.03)])
def test_gradient_flows_to_the_landmarks(backward, tolerance, generator):
    """Implicit gradients drop the curvature of the residuals: exact only where those are small."""
    blocks, leaves = problem(generator, "square")
    solver = TheseusLM(max_steps=12, tolerance=0.0, backward=backward)
    shift = torch.zeros(POINTS, 2, **DOUBLE, requires_grad=True)
    (gradient,) = torch.autograd.grad(shape_after_fit(solver, blocks, leaves, shift), shift)
    direction = torch.randn(POINTS, 2, generator=generator, **DOUBLE)
    h = 1e-4
    with torch.no_grad():
        forward = shape_after_fit(solver, blocks, leaves, h * direction)
        backwards = shape_after_fit(solver, blocks, leaves, -h * direction)
    expected = float(forward - backwards) / (2 * h)
    assert abs(expected) > 1e-4
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=tolerance)


def test_gradient_flows_to_the_weights(generator):
    blocks, leaves = problem(generator, "square")
    weight = torch.ones(POINTS, **DOUBLE, requires_grad=True)
    weighted = replace(blocks[0], weight=weight)  # type: ignore[type-var]
    identity = TheseusLM().minimize([weighted, *blocks[1:]], leaves).leaves["identity"]
    (gradient,) = torch.autograd.grad(identity.square().sum(), weight)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 1e-5


def test_batches_are_solved_side_by_side(generator):
    blocks, leaves = problem(generator)
    starts = {name: torch.stack([leaf, leaf + 0.02]) for name, leaf in leaves.items()}
    solution = TheseusLM(max_steps=60).minimize_batch(blocks, starts)
    assert solution.leaves["pose"].shape == (2, 1, 6)
    assert torch.allclose(*solution.leaves["identity"], atol=1e-4)


def test_rows_that_no_block_reads_stay(generator):
    blocks, leaves = problem(generator)
    leaves["expression"] = torch.cat([leaves["expression"], torch.full((1, 2), 7.0, **DOUBLE)])
    solution = TheseusLM(max_steps=3).minimize(blocks, leaves)
    assert torch.equal(solution.leaves["expression"][1], torch.full((2,), 7.0, **DOUBLE))
    assert solution.outcome is Outcome.MAX_STEPS


def test_without_theseus_the_error_has_the_install_line(monkeypatch, generator):
    blocks, leaves = problem(generator)
    genuine = builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        if name == "theseus":
            raise ImportError("No module named 'theseus'")
        return genuine(name, *rest)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "theseus", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"--no-deps theseus-ai==0\.2\.3 torchlie==0\.1\.0"):
        TheseusLM().minimize(blocks, leaves)
