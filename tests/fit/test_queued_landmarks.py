"""The start's energy as a function of tensors is that of its blocks, and a device's solve that of the host."""

from __future__ import annotations

import pytest
import torch

from hrnfit.energy.landmark import WhitenedLandmarkBlock
from hrnfit.fit.landmark_group import GroupedProblem
from hrnfit.fit.queued_landmarks import landmark_solution, packed_landmarks
from hrnfit.solve.block import Layout, QuadraticBlock
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from tests.fit.test_landmark_group import _basis, _block, _leaves

CPU = torch.device("cpu")


def problem(generator: torch.Generator) -> GroupedProblem:
    """Two views of one instant, one of another, one with correlated noise, and two priors on identity."""
    basis, own = _basis(generator), _basis(generator)
    whitened = WhitenedLandmarkBlock(
        _block(own, generator, 3, frame=1, kernel="square"),
        torch.randn(60, 60, dtype=torch.float64, generator=generator),
    )
    mean = torch.randn(4, dtype=torch.float64, generator=generator)
    return GroupedProblem.of(
        [
            _block(basis, generator, 0),
            _block(basis, generator, 1),
            _block(basis, generator, 2, frame=1),
            whitened,
            QuadraticBlock(("identity", None), mean, torch.full_like(mean, 0.5)),
            *(
                QuadraticBlock(("pose", t), *torch.full((2, 6), 0.1, dtype=torch.float64))
                for t in range(2)
            ),
        ]
    )


def test_the_equations(generator):
    blocks, leaves = problem(generator), _leaves(generator)
    layout = Layout.of(leaves)
    packed, there = packed_landmarks(blocks, layout, leaves, CPU)
    energy, hessian, gradient = packed.linearize(layout.pack(there), *packed.constants)
    expected = blocks.equations(leaves)
    scale = float(expected.hessian.abs().max())
    torch.testing.assert_close(energy, expected.energy, rtol=1e-12, atol=0)
    torch.testing.assert_close(hessian, expected.hessian, rtol=1e-10, atol=1e-13 * scale)
    torch.testing.assert_close(gradient, expected.gradient, rtol=1e-10, atol=1e-13 * scale)


def test_several_priors_on_an_unknown_pull_together(generator):
    leaves = _leaves(generator)
    one = torch.ones(4, dtype=torch.float64)
    priors = [QuadraticBlock(("identity", None), k * one, one) for k in (1.0, 4.0)]
    layout = Layout.of(leaves)
    packed, _ = packed_landmarks(GroupedProblem((), tuple(priors)), layout, leaves, CPU)
    _, _, gradient = packed.linearize(layout.pack(leaves), *packed.constants)
    torch.testing.assert_close(gradient[:4], 2 * leaves["identity"] - 5.0)
    assert not gradient[4:].any()


class Other:
    """A term of no known kind."""

    slots = (("identity", None),)

    def residual(self, *values):
        return values[0]

    def linearize(self, *values):
        return values[0], (torch.eye(4, dtype=torch.float64),)


def test_another_term_is_refused(generator):
    leaves = _leaves(generator)
    with pytest.raises(TypeError, match="landmarks and quadratic priors alone"):
        packed_landmarks(GroupedProblem((), (Other(),)), Layout.of(leaves), leaves, CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_a_gpu(generator):
    blocks, leaves = problem(generator), _leaves(generator)
    solver, bounds = LevenbergMarquardt(20, tolerance=1e-9), {"expression": (0.0, 1.0)}
    here, there = (
        landmark_solution(torch.device(d), solver, blocks, leaves, bounds) for d in ("cpu", "cuda")
    )
    for name, leaf in here.leaves.items():
        torch.testing.assert_close(there.leaves[name], leaf, atol=1e-5, rtol=1e-5)
