"""The one loop of first-order solvers: non-finite detection, rollback, convergence, trace, progress.

A stepper moves the leaves; everything around it happens here. The energy is read back to the host
only every `record_every` steps, so a GPU never waits in between.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from hrnfit.solve.solver import Leaves, Outcome, Solution

Evaluated = tuple[Tensor, dict[str, Tensor]]
"""Total energy, and the unweighted energy of each term."""

Energy = Callable[[Leaves], Evaluated]

Progress = Callable[[int, float], None]
"""Called at each recorded step with its number and the total energy."""


@runtime_checkable
class Stepper(Protocol):
    """A method that moves leaves in place. It owns rates and momenta, and nothing else."""

    def begin(self, leaves: Leaves, shrink: float) -> Leaves:
        """Start afresh at these leaves (they require gradients), with rates times `shrink`; returns those
        that will move, which may be copies in memory of its own."""
        ...

    def advance(self, energy: Energy, fraction: float) -> Evaluated:
        """Move once, `fraction` of the way through; returns the energy before the move."""
        ...

    def look(self, energy: Energy) -> Tensor:
        """Energy where the leaves are now."""
        ...


@dataclass(frozen=True)
class Loop:
    """How long, how often to look, and when to stop."""

    steps: int = 200
    record_every: int = 10
    """Steps between two looks at the energy; also the distance of a rollback."""
    tolerance: float = 0.0
    """Ends when `patience` records lowered the energy by less than this fraction; 0: never."""
    patience: int = 3
    slack: float = 0.0
    """The last state stands unless an earlier one was lower by more than this fraction."""
    max_rollbacks: int = 3
    """Non-finite energies that are survived, each with half the rates."""

    def run(
        self, stepper: Stepper, energy: Energy, leaves: Leaves, progress: Progress | None = None
    ) -> Solution:
        """The best state seen, within `slack` the last. `leaves` themselves are not changed."""
        moving = {n: leaf.detach().clone().requires_grad_() for n, leaf in leaves.items()}
        run = _Run(moving, good=_copied(leaves), best=_copied(leaves))
        run.leaves = stepper.begin(run.leaves, 1.0)
        outcome, step = Outcome.MAX_STEPS, 0
        while step < self.steps:
            looking = step % self.record_every == 0
            before = _copied(run.leaves) if looking else {}
            total, terms = stepper.advance(energy, step / self.steps)
            step += 1
            if not looking:
                continue
            if run.record(*_on_host(total, terms), before):
                if progress is not None:
                    progress(step - 1, run.energies[-1])
                if run.settled(self.tolerance, self.patience):
                    outcome = Outcome.CONVERGED
                    break
            elif run.rollbacks > self.max_rollbacks or not run.energies:
                outcome = Outcome.NON_FINITE
                break
            else:
                run.restore()
                stepper.begin(run.leaves, 0.5**run.rollbacks)
        return run.solution(float(stepper.look(energy)), outcome, step, self.slack)


@dataclass
class _Run:
    """State of one run: the moving leaves, the last good and the best copies, the trace."""

    leaves: Leaves
    good: Leaves
    best: Leaves
    best_energy: float = math.inf
    rollbacks: int = 0
    energies: list[float] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    def record(self, value: float, terms: dict[str, float], before: Leaves) -> bool:
        """Take note of a looked-at state; False when its energy is not finite."""
        if not math.isfinite(value):
            self.rollbacks += 1
            return False
        self.good = before
        if value < self.best_energy:
            self.best, self.best_energy = before, value
        self.energies.append(value)
        for name, term in terms.items():
            self.terms.setdefault(name, []).append(term)
        return True

    def restore(self) -> None:
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(self.good[name])

    def settled(self, tolerance: float, patience: int) -> bool:
        if tolerance <= 0 or len(self.energies) <= patience:
            return False
        before, now = self.energies[-1 - patience], self.energies[-1]
        return before - now <= tolerance * abs(before)

    def solution(self, value: float, outcome: Outcome, steps: int, slack: float) -> Solution:
        """The last state, of energy `value`, unless an earlier one was better by more than `slack` or the last is not
        finite."""
        finite = math.isfinite(value) and all(
            bool(torch.isfinite(leaf).all()) for leaf in self.leaves.values()
        )
        if finite:
            self.energies.append(value)
        above = value - self.best_energy
        stands = above <= 0 or above <= slack * abs(self.best_energy)
        final = self.leaves if finite and stands else self.best
        if not finite and outcome is Outcome.MAX_STEPS:
            outcome = Outcome.NON_FINITE
        terms = {name: tuple(values) for name, values in self.terms.items()}
        return Solution(
            _copied(final),
            outcome,
            steps,
            tuple(self.energies),
            terms,
            time.perf_counter() - self.start,
        )


def _on_host(total: Tensor, terms: dict[str, Tensor]) -> tuple[float, dict[str, float]]:
    """Energies read back by one copy."""
    values = torch.stack([total.detach(), *(term.detach() for term in terms.values())]).tolist()
    return values[0], dict(zip(terms, values[1:], strict=True))


def _copied(leaves: Leaves) -> Leaves:
    return {name: leaf.detach().clone() for name, leaf in leaves.items()}
