"""Damped Gauss-Newton inside the shared loop: the problem proposes, a trial decides, the loop watches.

For energies whose weights, visibility and light field are looked at anew before every step: within a
step they are held, and a proposal that does not lower that energy is damped and tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from hrnfit.solve.loop import Energy, Evaluated, Loop, Progress
from hrnfit.solve.solver import Leaves, Solution

Propose = Callable[[Leaves], tuple[Evaluated, Callable[[float], Leaves]]]
"""Energy and terms at the leaves, and the step from there for a damping relative to the diagonal."""


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

    def minimize(
        self, propose: Propose, energy: Energy, leaves: Leaves, progress: Progress | None = None
    ) -> Solution:
        """Minimum from `leaves`; `energy` evaluates without linearising, as the last proposal did."""
        loop = Loop(steps=self.steps, record_every=1, tolerance=self.tolerance, patience=3)
        return loop.run(_Stepper(propose, self), energy, leaves, progress)


class _Stepper:
    """Moves the leaves by the least damped proposal that lowers the energy."""

    def __init__(self, propose: Propose, settings: GaussNewton) -> None:
        self._propose, self._settings = propose, settings
        self._leaves: Leaves = {}
        self._shrink, self._damping = 1.0, settings.damping

    def begin(self, leaves: Leaves, shrink: float) -> Leaves:
        self._leaves, self._shrink = leaves, shrink
        return leaves

    def advance(self, energy: Energy, fraction: float) -> Evaluated:
        with torch.no_grad():
            here = {name: leaf.detach() for name, leaf in self._leaves.items()}
            evaluated, solve = self._propose(here)
            for _ in range(self._settings.max_retries):
                step = solve(self._damping)
                there = {n: leaf + self._limited(n, step[n]) for n, leaf in here.items()}
                if float(energy(there)[0]) < float(evaluated[0]):
                    for name, leaf in self._leaves.items():
                        leaf.copy_(there[name])
                    self._damping = max(self._damping / 10.0, 1e-6)
                    break
                self._damping = min(self._damping * 10.0, 1e6)
        return evaluated

    def look(self, energy: Energy) -> torch.Tensor:
        with torch.no_grad():
            return energy(self._leaves)[0]

    def _limited(self, name: str, change: torch.Tensor) -> torch.Tensor:
        """The step, shortened to its limit."""
        limit = self._settings.limits.get(name)
        if limit is None:
            return change * self._shrink
        # A displacement map is (K, H, W): its rows are no vectors.
        of_vectors = change.dim() > 2 and change.shape[-1] == 3
        vectors = change if of_vectors else change[..., None]
        length = vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        return (vectors * (limit / length).clamp_max(1.0)).view_as(change) * self._shrink
