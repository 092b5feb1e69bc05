"""Held values: constants of a derivative, recorded and replayed by whoever differentiates it again."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.derivative import forward_jacobian, held, plain_backward, recorded, replayed


def energy(x: torch.Tensor) -> torch.Tensor:
    """Half x^2, weighted by a held x^3 that is made of another held value."""
    square = held(lambda: x**2)
    return 0.5 * held(lambda: square * x) * x**2


def test_a_held_value_has_no_derivative():
    x = torch.tensor(2.0, requires_grad=True)
    (slope,) = torch.autograd.grad(energy(x), x)
    assert float(slope) == 2.0**4  # of x^5 / 2 it would be 40
    assert not held(lambda: x).requires_grad


def test_replayed_values_are_constants_of_the_slope_but_not_of_its_derivative():
    x = torch.tensor(2.0, requires_grad=True)
    with recorded() as values:
        energy(x)
    own = x.view_as(x)
    with replayed(values):
        value = energy(own)
    (slope,) = torch.autograd.grad(value, own, create_graph=True)
    assert float(slope.detach()) == 2.0**4
    (again,) = torch.autograd.grad(slope, x)
    assert float(again) == 4 * 2.0**3  # d(x^4) / dx


def test_recording_ends_with_its_block():
    with pytest.raises(KeyError), recorded():
        raise KeyError
    with recorded() as values:
        pass
    held(lambda: torch.ones(1))
    assert not values


def test_plain_backward_takes_each_place_alone(generator):
    """Of x times y with y = 2 x, the derivative in the first place is y and not y + 2 x."""
    x = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)

    def first(x: torch.Tensor) -> torch.Tensor:
        y = 2 * x
        found = plain_backward(torch.mul, (x, y), (True, False), torch.ones_like(x))
        assert found[1] is None
        return found[0]

    assert torch.equal(first(x), 2 * x)
    assert gradcheck(first, x)


def test_forward_jacobian_by_hand():
    value, jacobian = forward_jacobian(lambda x: x**2, torch.tensor([1.0, 3.0]))
    assert torch.equal(value, torch.tensor([1.0, 9.0]))
    assert torch.equal(jacobian, torch.tensor([[2.0, 0.0], [0.0, 6.0]]))
