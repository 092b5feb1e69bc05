"""Damped Gauss-Newton inside the shared loop: the problem proposes, a trial decides, the loop watches.

For energies whose weights, visibility and light field are looked at anew before every step: within a
step they are held, and a proposal that does not lower that energy is damped and tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from hrnfit.solve.loop import Energy, Evaluated, Loop, Progress
from hrnfit.solve.solver import Leaves, Solution

Propose = Callable[[Leaves], tuple[Evaluated, Callable[[float], Leaves]]]
"""Energy and terms at the leaves, and the step from there for a damping relative to the diagonal."""


@runtime_checkable
class Attempts(Protocol):
    """Damped steps from the same leaves, one after the other."""

    def begin(self, leaves: Leaves) -> None:
        """Attempts from here on start at these leaves."""
        ...

    def attempt(self, damping: float, shrink: float) -> tuple[bool, Leaves]:
        """Whether the step with this damping, limited and times `shrink`, is accepted, and where it leads."""
        ...

    def evaluated(self) -> Evaluated:
        """Energy and terms at the leaves, after an attempt."""
        ...


@dataclass(frozen=True)
class GaussNewton:
    """Settings of the solver."""

    steps: int = 10
    limits: dict[str, float] = field(default_factory=dict)
    """Longest allowed step by leaf: of the vectors of maps (..., H, W, 3), of each value otherwise."""
    tolerance: float = 2e-3
    """Ends when three steps together lowered the energy by less than this fraction."""
    damping: float = 1e-3
    """First damping, relative to the diagonal."""
    max_retries: int = 5
    """Dampings tried per step, each ten times the last."""
    slack: float = 0.0
    """A step may raise the energy by this fraction, and the last state stands unless an earlier one was lower by more
    than all steps may add (nonmonotone, after Grippo, Lampariello & Lucidi 1986). For energies that a change of what is
    looked at moves by as much as a step does: whether that refuses a step is chance, and rounding decides it."""

    def minimize(
        self, propose: Propose, energy: Energy, leaves: Leaves, progress: Progress | None = None
    ) -> Solution:
        """Minimum from `leaves`; `energy` evaluates without linearising, as the last proposal did."""
        attempts = _Proposed(propose, energy, self.limits, self.slack)
        return self.minimize_by(attempts, energy, leaves, progress)

    def minimize_by(
        self, attempts: Attempts, energy: Energy, leaves: Leaves, progress: Progress | None = None
    ) -> Solution:
        """The same where proposing, limiting and evaluating are one computation; it knows limits and slack."""
        slack = self.slack * self.steps
        loop = Loop(self.steps, record_every=1, tolerance=self.tolerance, patience=3, slack=slack)
        return loop.run(_Stepper(attempts, self), energy, leaves, progress)


class _Stepper:
    """Moves the leaves by the least damped attempt that is accepted."""

    def __init__(self, attempts: Attempts, settings: GaussNewton) -> None:
        self._attempts, self._settings = attempts, settings
        self._leaves: Leaves = {}
        self._shrink, self._damping = 1.0, settings.damping

    def begin(self, leaves: Leaves, shrink: float) -> Leaves:
        self._leaves, self._shrink = leaves, shrink
        return leaves

    def advance(self, energy: Energy, fraction: float) -> Evaluated:
        with torch.no_grad():
            here = {name: leaf.detach() for name, leaf in self._leaves.items()}
            self._attempts.begin(here)
            for _ in range(self._settings.max_retries):
                lower, there = self._attempts.attempt(self._damping, self._shrink)
                if lower:
                    for name, leaf in self._leaves.items():
                        leaf.copy_(there[name])
                    self._damping = max(self._damping / 10.0, 1e-6)
                    break
                self._damping = min(self._damping * 10.0, 1e6)
            return self._attempts.evaluated()

    def look(self, energy: Energy) -> torch.Tensor:
        with torch.no_grad():
            return energy(self._leaves)[0]


class _Proposed:
    """Attempts of a problem that proposes a step and evaluates where it leads."""

    def __init__(
        self, propose: Propose, energy: Energy, limits: dict[str, float], slack: float
    ) -> None:
        self._propose, self._energy, self._limits, self._slack = propose, energy, limits, slack

    def begin(self, leaves: Leaves) -> None:
        self._here = leaves
        self._evaluated, self._step = self._propose(leaves)

    def attempt(self, damping: float, shrink: float) -> tuple[bool, Leaves]:
        there = moved(self._here, self._step(damping), self._limits, shrink)
        now, before = float(self._energy(there)[0]), float(self._evaluated[0])
        return accepted(now, before, self._slack), there

    def evaluated(self) -> Evaluated:
        return self._evaluated


def accepted(now: float, before: float, slack: float) -> bool:
    """Whether a step from an energy to another counts as one that lowers it; see `GaussNewton.slack`."""
    return now < before or now - before < slack * abs(before)


def moved(
    leaves: Leaves, step: Leaves, limits: dict[str, float], shrink: float | torch.Tensor
) -> Leaves:
    """The leaves after a step, each shortened to its limit, times `shrink`."""
    return {n: x + limited(step[n], limits.get(n)) * shrink for n, x in leaves.items()}


def limited(change: torch.Tensor, limit: float | None) -> torch.Tensor:
    """The step, shortened to its limit."""
    if limit is None:
        return change
    # A displacement map is (K, H, W): its rows are no vectors.
    of_vectors = change.dim() > 2 and change.shape[-1] == 3
    vectors = change if of_vectors else change[..., None]
    length = vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return (vectors * (limit / length).clamp_max(1.0)).view_as(change)
