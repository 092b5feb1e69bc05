"""Small definite systems: by elimination and by factors the same."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry.definite import (
    factor_or_nan,
    inverse_of_lower,
    solve_by_factors,
    solve_definite,
)

F64 = torch.float64


def definite(generator: torch.Generator, *batch: int) -> torch.Tensor:
    root = torch.randn(*batch, 5, 8, dtype=F64, generator=generator)
    return root @ root.mT


def test_by_hand():
    system, right = torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([[3.0], [3.0]])
    for solve in (solve_definite, solve_by_factors):
        torch.testing.assert_close(solve(system, right), torch.ones(2, 1))


def test_both_ways_agree_over_batches(generator):
    system = definite(generator, 2, 3)
    right = torch.randn(2, 3, 5, 2, dtype=F64, generator=generator)
    expected = solve_definite(system, right)
    torch.testing.assert_close(system @ expected, right)
    torch.testing.assert_close(solve_by_factors(system, right), expected)


def test_the_type_is_that_of_the_right_hand_side(generator):
    right = torch.randn(5, 2, generator=generator)
    assert solve_by_factors(definite(generator).float(), right).dtype == torch.float32


def test_an_indefinite_system_gives_nan_and_no_error():
    found = solve_by_factors(torch.diag(torch.tensor([1.0, -1.0])), torch.ones(2, 1))
    assert bool(found.isnan().any())


def test_gradient(generator):
    root = torch.randn(5, 8, dtype=F64, generator=generator, requires_grad=True)
    right = torch.randn(5, 2, dtype=F64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: solve_by_factors(a @ a.mT, b), (root, right))


def test_the_factor_of_a_system_that_has_none_is_nan():
    good, bad = torch.eye(2).double() * 4, torch.diag(torch.tensor([1.0, -1.0])).double()
    factors = factor_or_nan(torch.stack([good, bad]))
    assert factors[0].tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert factors[1].isnan().all()


@pytest.mark.parametrize("size", [1, 5, 8, 16, 27])
def test_inverse_of_a_lower_triangle(size, generator):
    factor = torch.randn(size, size, dtype=torch.float64, generator=generator).tril()
    factor.diagonal().abs_().add_(1.0)
    inverse = inverse_of_lower(factor, leaf=4)
    assert torch.equal(inverse, inverse.tril())
    torch.testing.assert_close(inverse @ factor, torch.eye(size, dtype=torch.float64))
