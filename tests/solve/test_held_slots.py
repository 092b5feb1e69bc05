"""Blocks of which some unknowns are given."""

from __future__ import annotations

import pytest
import torch

from hrnfit.solve.held_slots import HeldSlots
from tests.solve.test_implicit import DOUBLE, Bent


def test_the_free_slots_are_left():
    target = torch.tensor([3.0, -1.0, 2.0], **DOUBLE)
    whole, y = Bent(target), torch.tensor([0.4], **DOUBLE, requires_grad=True)
    part = HeldSlots(whole, {("y", 1): y})
    assert part.slots == (("x", None),)
    x = torch.tensor([[0.3, 0.2], [1.0, -1.0]], **DOUBLE)
    both = (x, y.expand(2, -1))
    residual, (by_x,) = part.linearize(x)
    assert torch.equal(part.residual(x), whole.residual(*both))
    assert torch.equal(residual, whole.residual(*both))
    assert torch.equal(by_x, whole.linearize(*both)[1][0])
    (slope,) = torch.autograd.grad(residual.sum(), y)
    assert float(slope) == pytest.approx(2 * 3.5 * 2 * 0.4)  # two rows, factors 1 + 1/2 + 2
