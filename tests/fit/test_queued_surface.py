"""The surface problem as a function of tensors: the equations of the host's."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.gap_field import InvertedRoot
from hrnfit.fit.queued_surface import STEP, surface_problem
from hrnfit.solve.block import Layout
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from tests.fit.test_surface_stage import problem


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("own_shapes", [False, True])
def test_the_equations_are_the_hosts(frames, own_shapes):
    p, leaves = problem(frames)
    if own_shapes:  # as a model with joints has them
        p._shapes = [type(s)(*(part.clone() for part in s)) for s in p._shapes]
    covariance = p._gap + torch.diag(p._variance / len(p._across))
    whitening = InvertedRoot.of(covariance).whitening
    packed = surface_problem(
        leaves, p._deviations(), p._across, p._on_surface, p._variance, whitening, p._shapes
    )
    assert packed.constants[3].shape == (STEP, STEP) or len(whitening) > STEP
    assert len(packed.constants[2]) % STEP == 0
    x, theirs = Layout.of(leaves).pack(leaves), p.linearize(leaves)
    energy, hessian, gradient = packed.linearize(x, *packed.constants)
    assert float(energy) == pytest.approx(float(theirs.energy), rel=1e-9)
    for ours, other in ((hessian, theirs.hessian), (gradient, theirs.gradient)):
        assert torch.allclose(ours, other, rtol=1e-8, atol=1e-9 * float(other.abs().max()))


def test_the_solve_ends_where_the_hosts_does():
    p, leaves = problem(True)
    solver, bounds = LevenbergMarquardt(max_steps=10, tolerance=1e-6), {"expression": (0.0, 1.0)}
    host = p.solved(solver, leaves, bounds)
    p._precision = InvertedRoot.of(p._gap + torch.diag(p._variance / len(p._across)))
    queued = p.solved(solver, leaves, bounds)
    assert queued.energies == pytest.approx(host.energies, rel=1e-8)
    for name, leaf in host.leaves.items():
        assert torch.allclose(queued.leaves[name], leaf, atol=1e-6)
