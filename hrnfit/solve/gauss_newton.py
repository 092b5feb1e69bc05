"""Gauss-Newton steps inside the shared loop: the problem proposes, the loop keeps what is finite.

For energies that change as they are linearised (robust weights, visibility): no step is refused for
raising the energy, but the best state seen is what comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from hrnfit.solve.loop import Energy, Evaluated, Loop, Progress
from hrnfit.solve.solver import Leaves, Solution

Propose = Callable[[Leaves], tuple[Evaluated, Leaves]]
"""Energy and terms at the leaves, and the full Gauss-Newton step from there."""


@dataclass(frozen=True)
class GaussNewton:
    """Settings of the solver."""

    steps: int = 10
    limits: dict[str, float] = field(default_factory=dict)
    """Longest allowed step by leaf: of the last axis' vectors for maps, of each value otherwise."""
    tolerance: float = 2e-3
    """Ends when three steps together lowered the energy by less than this fraction."""

    def minimize(
        self, propose: Propose, energy: Energy, leaves: Leaves, progress: Progress | None = None
    ) -> Solution:
        """Minimum from `leaves`; `energy` evaluates without linearising."""
        loop = Loop(steps=self.steps, record_every=1, tolerance=self.tolerance, patience=3)
        return loop.run(_Stepper(propose, self.limits), energy, leaves, progress)


class _Stepper:
    """Moves the leaves by the proposed step, shortened to its limits."""

    def __init__(self, propose: Propose, limits: dict[str, float]) -> None:
        self._propose, self._limits = propose, limits
        self._leaves: Leaves = {}
        self._shrink = 1.0

    def begin(self, leaves: Leaves, shrink: float) -> None:
        self._leaves, self._shrink = leaves, shrink

    def advance(self, energy: Energy, fraction: float) -> Evaluated:
        with torch.no_grad():
            evaluated, step = self._propose({n: v.detach() for n, v in self._leaves.items()})
            for name, change in step.items():
                limit = self._limits.get(name)
                if limit is not None:
                    vectors = change if change.dim() > 2 else change[..., None]
                    length = vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
                    change = (vectors * (limit / length).clamp_max(1.0)).view_as(change)
                self._leaves[name].add_(change * self._shrink)
        return evaluated
