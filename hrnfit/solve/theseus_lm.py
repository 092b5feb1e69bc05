"""Theseus as a differentiable Levenberg-Marquardt over the same blocks, with their own Jacobians.

Gradients of the solution flow to every tensor that the blocks hold (landmarks, weights, cameras), so
the solver can stand inside a training loop. Without gradients `levenberg_marquardt.py` reaches the
same optimum, needs nothing installed, and knows bounds. Theseus: Pineda et al. 2022.

What comes back is the best state seen. `implicit` ends with an undamped Gauss-Newton step, which
carries the gradients and may raise the energy: its value is then put back, its gradients stay, and they
are those of the best state, where that step began. Non-finite residuals count as `REFUSED`, so no
step leads there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.quiet import without_warnings
from hrnfit.solve.block import Block, Slot
from hrnfit.solve.solver import Leaves, Outcome, Solution

INSTALL = "pip install --no-build-isolation --no-deps theseus-ai==0.2.3 torchlie==0.1.0"
"""Its sources are compiled beside an installed torch, so it cannot be an ordinary dependency."""

REJECTED = 3
"""Iterations in a row, each of three steps with 11 times the damping, that must fail before it ends."""

REFUSED = 1e6
"""Stands for a residual that is not finite: Theseus would accept the step and then fail."""


@dataclass(frozen=True)
class TheseusLM:
    """Settings of the differentiable solver."""

    max_steps: int = 30
    damping: float = 1e-3
    """First damping; adapted to the gain of each step."""
    tolerance: float = 1e-9
    """Relative change of the energy at which it ends."""
    backward: Literal["unroll", "implicit"] = "implicit"
    """How gradients are found: through all steps, or by one Gauss-Newton step at the optimum, which
    needs no memory of the steps and is exact where the residuals at the optimum are small."""

    def minimize(self, blocks: Sequence[Block], leaves: Leaves) -> Solution:
        """Leaves at a minimum; they carry gradients when a tensor of the blocks requires them."""
        solution = self.minimize_batch(blocks, {name: leaf[None] for name, leaf in leaves.items()})
        single = {name: leaf[0] for name, leaf in solution.leaves.items()}
        return Solution(
            single, solution.outcome, solution.steps, solution.energies, seconds=solution.seconds
        )

    def minimize_batch(self, blocks: Sequence[Block], leaves: Leaves) -> Solution:
        """The same for leaves with one more leading dimension: independent problems side by side.

        `energies` are those of the best states after each step, summed over the batch.
        """
        th, start = _theseus(), time.perf_counter()
        inputs = _slot_inputs(blocks, leaves)
        if not _is_finite(blocks, inputs):
            return Solution(leaves, Outcome.NON_FINITE, 0, (float("inf"),))
        layer = self._layer(th, blocks, inputs)
        options = {"damping": self.damping, "adaptive_damping": True}
        options |= {"backward_mode": self.backward}
        options |= {"track_err_history": True, "track_best_solution": True}
        # it meets a failed Cholesky with damping and a warning, and numpy 2 with another
        with without_warnings():
            values, info = layer.forward(inputs, optimizer_kwargs=options)
        with torch.no_grad():
            last = layer.objective.error_metric()
        energies = _best_so_far(info.err_history)
        best = _at_best(values, last, info)
        finite = _is_finite(blocks, best)
        moved = _with_slots(leaves, best) if finite else leaves
        outcome, seconds = _outcome(finite, info.status, th), time.perf_counter() - start
        return Solution(moved, outcome, max(len(energies) - 1, 0), energies, seconds=seconds)

    def _layer(self, th: Any, blocks: Sequence[Block], inputs: dict[str, Tensor]) -> Any:
        first = next(iter(inputs.values()))
        variables = {name: th.Vector(tensor=value, name=name) for name, value in inputs.items()}
        objective = th.Objective(dtype=first.dtype)
        cost_type, weight = _cost_type(th), th.ScaleCostWeight(first.new_ones(1, 1))
        for i, block in enumerate(blocks):
            own = [variables[_slot_name(slot)] for slot in block.slots]
            objective.add(cost_type(block, own, weight, f"block_{i}"))
        optimizer = _optimizer_type(th)(
            objective,
            linear_solver_cls=th.CholeskyDenseSolver,
            max_iterations=self.max_steps,
            abs_err_tolerance=0.0,
            rel_err_tolerance=self.tolerance,
        )
        layer = th.TheseusLayer(optimizer, vectorize=False)
        return layer.to(device=first.device, dtype=first.dtype)


def _theseus() -> Any:
    """The library, or an error with its install line. Its import warns of old torch interfaces."""
    try:
        with without_warnings():
            import theseus  # type: ignore[import-not-found,import-untyped]
    except ImportError as error:
        raise ImportError(
            f"solver 'theseus' is not installed ({error}); with torch installed, run: {INSTALL} ; "
            "or use LevenbergMarquardt, which needs nothing more"
        ) from error
    return theseus


_COST_TYPES: dict[int, Any] = {}


def _cost_type(th: Any) -> Any:
    """Cost function over a block; made once, when Theseus is there to inherit from."""
    if id(th) in _COST_TYPES:
        return _COST_TYPES[id(th)]

    class BlockCost(th.CostFunction):
        """A block in the terms of Theseus: variables by attribute, error and Jacobians."""

        def __init__(self, block: Block, variables: list[Any], weight: Any, name: str) -> None:
            super().__init__(weight, name=name)
            self.block = block
            for i, variable in enumerate(variables):
                setattr(self, f"slot_{i}", variable)
            self.register_optim_vars([f"slot_{i}" for i in range(len(variables))])

        def _values(self) -> tuple[Tensor, ...]:
            return tuple(variable.tensor for variable in self.optim_vars)

        def error(self) -> Tensor:
            return _refusing(self.block.residual(*self._values()), REFUSED)

        def jacobians(self) -> tuple[list[Tensor], Tensor]:
            residual, jacobians = self.block.linearize(*self._values())
            return [_refusing(J, 0.0) for J in jacobians], _refusing(residual, REFUSED)

        def dim(self) -> int:
            with torch.no_grad():
                return self.error().shape[-1]

        def _copy_impl(self, new_name: str | None = None) -> BlockCost:
            variables = [variable.copy() for variable in self.optim_vars]
            return BlockCost(self.block, variables, self.weight.copy(), new_name or self.name)

    _COST_TYPES[id(th)] = BlockCost
    return BlockCost


_OPTIMIZER_TYPES: dict[int, Any] = {}


def _optimizer_type(th: Any) -> Any:
    """Its Levenberg-Marquardt with an end that tells rejected steps from a settled energy; made once.

    Theseus compares energies alone, and after three rejected steps the energy is where it was: a damping
    that was far too low for the start ended the solve there.
    """
    if id(th) in _OPTIMIZER_TYPES:
        return _OPTIMIZER_TYPES[id(th)]

    class Patient(th.LevenbergMarquardt):
        """Settled when an accepted step hardly lowered the energy, or `REJECTED` iterations in a row failed."""

        rejected: Tensor | float = 0.0

        def _check_convergence(self, err: Tensor, last_err: Tensor) -> Tensor:
            still = err == last_err
            self.rejected = torch.where(still, self.rejected + torch.ones_like(err), 0.0)
            settled = super()._check_convergence(err, last_err)
            return settled & (~still | (self.rejected >= REJECTED))

    _OPTIMIZER_TYPES[id(th)] = Patient
    return Patient


def _slot_name(slot: Slot) -> str:
    return slot[0] if slot[1] is None else f"{slot[0]}[{slot[1]}]"


def _slot_inputs(blocks: Sequence[Block], leaves: Leaves) -> dict[str, Float[Tensor, "B d"]]:
    """Start of every slot that a block reads."""
    slots = dict.fromkeys(slot for block in blocks for slot in block.slots)
    names = {slot[0] for slot in slots}
    for name in names:
        if name not in leaves:
            raise ValueError(f"a block reads {name!r}, which is not free; free: {[*leaves]}")
        if len({slot[1] is None for slot in slots if slot[0] == name}) > 1:
            raise ValueError(f"blocks read {name!r} both whole and by row; use one of them")
    return {
        _slot_name(slot): (leaves[slot[0]] if slot[1] is None else leaves[slot[0]][:, slot[1]])
        .flatten(1)
        .detach()
        .clone()
        for slot in slots
    }


def _refusing(values: Float[Tensor, "*B"], otherwise: float) -> Float[Tensor, "*B"]:
    """Values with `otherwise` where they are not finite."""
    return torch.where(torch.isfinite(values), values, torch.full_like(values, otherwise))


def _best_so_far(history: Float[Tensor, "B n"]) -> tuple[float, ...]:
    """Sum over the batch of each problem's least energy so far, up to the last step that was made."""
    made = int(torch.isfinite(history).all(0).sum())
    return tuple(float(e) for e in history[:, :made].cummin(1).values.sum(0))


def _at_best(
    values: dict[str, Tensor], last: Float[Tensor, "B"], info: Any
) -> dict[str, Float[Tensor, "B d"]]:
    """Slots at the best state of each problem, with the gradients of the last step."""
    raised = (last > info.best_err.to(last))[:, None]
    back = {
        name: torch.where(raised, info.best_solution[name].to(value) - value, 0.0)
        for name, value in values.items()
    }
    return {name: value + back[name].detach() for name, value in values.items()}


def _is_finite(blocks: Sequence[Block], values: dict[str, Tensor]) -> bool:
    """Whether every residual is finite at the slots' values."""
    with torch.no_grad():
        residuals = [b.residual(*(values[_slot_name(s)] for s in b.slots)) for b in blocks]
    return all(bool(torch.isfinite(r).all()) for r in residuals)


def _with_slots(leaves: Leaves, values: dict[str, Tensor]) -> Leaves:
    """Leaves with the solved slots in place; rows that no block read stay as they were."""
    result = {}
    for name, leaf in leaves.items():
        if name in values:
            result[name] = values[name].reshape(leaf.shape)
            continue
        if leaf.ndim < 2:
            result[name] = leaf
            continue
        rows = [
            values[key].reshape(leaf[:, row].shape)
            if (key := _slot_name((name, row))) in values
            else leaf[:, row]
            for row in range(leaf.shape[1])
        ]
        result[name] = torch.stack(rows, 1) if rows else leaf
    return result


def _outcome(finite: bool, status: Any, th: Any) -> Outcome:
    if not finite:
        return Outcome.NON_FINITE
    converged = all(s == th.NonlinearOptimizerStatus.CONVERGED for s in list(status))
    return Outcome.CONVERGED if converged else Outcome.MAX_STEPS
