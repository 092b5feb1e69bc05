"""What every solver returns: the leaves it moved, how it ended, and the trace. Tensors only here.

A solver is a frozen dataclass of its settings; the problem knows nothing of the solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from torch import Tensor

Leaves = dict[str, Tensor]
"""Free unknowns by name."""


class Outcome(Enum):
    """How a solve ended; the value is the message, with advice."""

    CONVERGED = "converged: the energy no longer falls"
    MAX_STEPS = "stopped at the step limit while the energy still fell; more steps may help"
    STALLED = "no step lowered the energy; the start may already be an optimum, or the damping is at its limit"
    NON_FINITE = (
        "the energy became NaN or infinite and the last good state was kept; "
        "lower the rates, or check the cameras and images"
    )


@dataclass(frozen=True)
class Solution:
    """Result of one solve."""

    leaves: Leaves
    outcome: Outcome
    steps: int
    energies: tuple[float, ...] = ()
    """Total energy at each recorded step."""
    terms: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Unweighted energy of each term at each recorded step."""
    seconds: float = 0.0


def joined_rounds(rounds: Sequence[Solution], seconds: float) -> Solution:
    """Rounds of one solve, each begun where the one before ended, as one. seconds: of the whole."""
    last = rounds[-1]
    energies = tuple(energy for solution in rounds for energy in solution.energies)
    steps = sum(solution.steps for solution in rounds)
    return Solution(last.leaves, last.outcome, steps, energies, seconds=seconds)
