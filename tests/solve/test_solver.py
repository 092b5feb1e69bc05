"""Rounds of a solve read as one solve."""

from __future__ import annotations

import torch

from hrnfit.solve.solver import Outcome, Solution, joined_rounds


def test_rounds_are_joined_in_their_order():
    first = Solution({"x": torch.zeros(1)}, Outcome.MAX_STEPS, 2, (3.0, 2.0, 1.5), seconds=1.0)
    second = Solution({"x": torch.ones(1)}, Outcome.CONVERGED, 1, (1.5, 1.0), seconds=2.0)
    joined = joined_rounds([first, second], 4.0)
    assert joined.leaves is second.leaves
    assert joined.outcome is Outcome.CONVERGED
    assert joined.steps == 3
    assert joined.energies == (3.0, 2.0, 1.5, 1.5, 1.0)
    assert joined.seconds == 4.0
