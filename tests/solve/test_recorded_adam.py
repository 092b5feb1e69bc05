"""The recorded Adam: torch's own steps, schedule and bias correction from a table."""

from __future__ import annotations

import pytest
import torch

from hrnfit.solve.first_order import Adam, _AdamStepper
from hrnfit.solve.loop import Loop
from hrnfit.solve.recorded_adam import NamedEnergy, RateTable, adam_update, plain_update
from hrnfit.solve.solver import Outcome

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def test_rows_carry_schedule_and_bias_correction():
    rows = RateTable((0.5, 2.0), (1.0, 0.5), (0.9, 0.99)).rows(0, 1.0)
    assert rows[0].tolist() == pytest.approx([0.5 / 0.1, 2.0 / 0.1, 0.01**0.5])
    assert rows[1].tolist() == pytest.approx([0.25 / 0.19, 1.0 / 0.19, (1 - 0.99**2) ** 0.5])
    late = RateTable((0.5, 2.0), (1.0, 0.5), (0.9, 0.99)).rows(1, 0.5)  # begun again at step 1
    assert late[0].tolist() == pytest.approx([0.125 / 0.1, 0.5 / 0.1, 0.01**0.5])


def test_updates_are_those_of_torch():
    table = RateTable((0.05,), (1.0, 0.7, 0.4), (0.9, 0.999)).rows(0, 1.0)
    generator = torch.Generator().manual_seed(0)
    grads = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    ours = torch.zeros(4, dtype=torch.float64)
    first, second, step = torch.zeros_like(ours), torch.zeros_like(ours), torch.zeros(1).long()
    theirs = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([theirs])
    for grad, factor in zip(grads, (1.0, 0.7, 0.4), strict=True):
        adam_update(ours, first, second, grad, table, step, 0, (0.9, 0.999))
        step += 1
        theirs.grad, adam.param_groups[0]["lr"] = grad, 0.05 * factor
        adam.step()
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-15)


def test_the_kernel_updates_as_the_plain_formula():
    pytest.importorskip("triton", reason="Triton is not installed")
    from hrnfit.geometry.launched import INTERPRETED
    from hrnfit.solve.fused_adam import fused_update

    device = torch.device("cpu" if INTERPRETED else "cuda")
    generator = torch.Generator().manual_seed(1)
    table = RateTable((0.5, 0.05), (1.0, 0.7), (0.9, 0.999)).rows(0, 1.0).float().to(device)
    ours, theirs = ([torch.zeros(2, 5, device=device) for _ in range(3)] for _ in range(2))
    for k in range(3):  # the last is beyond the table
        grad = torch.randn(2, 5, generator=generator).to(device)
        step = torch.tensor([k], device=device)
        fused_update(*ours, grad, table, step, 1, (0.9, 0.999))
        plain_update(*theirs, grad, table, step, 1, (0.9, 0.999))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-5)


def bowl(leaves, inputs):
    near = (leaves["a"] - inputs["goal"]).square().sum()
    return near + leaves["b"].square().sum(), {"near": near.detach()}


@needs_gpu
def test_a_recorded_solve_is_that_of_torch_and_reads_new_inputs():
    adam = Adam({"a": 0.05, "b": 0.1}, loop=Loop(steps=41))
    for goal in (1.0, -2.0):
        leaves = {"a": torch.zeros(1, device="cuda"), "b": torch.ones(2, device="cuda")}
        named = NamedEnergy("bowl", bowl, {"goal": torch.tensor([goal], device="cuda")}, ("near",))
        ours = adam.minimize(named, leaves)
        theirs = adam.loop.run(_AdamStepper(adam), named, leaves)
        for name in leaves:
            assert torch.allclose(ours.leaves[name], theirs.leaves[name], atol=1e-5)
        assert ours.energies == pytest.approx(theirs.energies, rel=1e-4)
        assert ours.terms["near"] == pytest.approx(theirs.terms["near"], rel=1e-4)


@needs_gpu
def test_nan_rolls_back_in_a_recorded_solve():
    def cliff(leaves, inputs):
        return (leaves["x"].log() + 0.0 * leaves["x"]).sum(), {}

    loop = Loop(steps=60, record_every=1, max_rollbacks=3)
    adam = Adam({"x": 0.3}, schedule="constant", loop=loop)
    start = {"x": torch.ones(1, device="cuda")}
    solution = adam.minimize(NamedEnergy("cliff", cliff, {}, ()), start)
    assert solution.outcome is Outcome.NON_FINITE
    assert 0 < float(solution.leaves["x"]) <= 0.11
