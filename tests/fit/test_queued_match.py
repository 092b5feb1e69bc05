"""A round on a device, run here on the CPU, is that of the host."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.queued_match import DeviceRounds
from hrnfit.fit.queued_surface import STEP
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from tests.fit.test_surface_stage import SETTINGS, problem


@pytest.mark.parametrize("frames", [False, True])
def test_two_rounds_are_the_hosts(frames):
    p, leaves = problem(frames)
    p._matched = False
    surface = p._heads, p._normals, p._scene.model.faces
    p._belief = torch.linspace(0.1, 1.0, len(p._belief), dtype=torch.float64)
    rounds = DeviceRounds(leaves, p._deviations(), p._shapes[0], p._gap, p._belief, surface)
    solver, bounds = LevenbergMarquardt(max_steps=4), {"expression": (0.0, 1.0)}
    here = there = leaves
    for noise in (10 * SETTINGS.noise, SETTINGS.noise):
        p.match(here, noise)
        rounds.match(there, noise)
        here = p.solved(solver, here, bounds).leaves
        there = rounds.solved(solver, there, bounds).leaves
    count = len(p._variance)
    assert len(rounds._now.variance) == -(-count // STEP) * STEP
    assert torch.allclose(rounds._now.variance[:count], p._variance, rtol=1e-4)
    assert torch.allclose(rounds._now.on_surface[:, :count], p._on_surface, atol=1e-4)
    assert not rounds._now.across[:, count:].any()
    for name, leaf in here.items():
        assert torch.allclose(there[name], leaf, atol=1e-4), name
