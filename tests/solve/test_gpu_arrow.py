"""Dense steps against the sparse solver; the device does not matter to the arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from hrnfit.solve.gpu_arrow import solve_arrow_dense, solve_arrow_iterated, solve_arrow_on
from hrnfit.solve.grid import ArrowEquations, solve_arrow

CPU = torch.device("cpu")


def equations(n: int, q: int) -> ArrowEquations:
    """A positive definite arrow system with a sparse body."""
    random = np.random.default_rng(0)
    body = sparse.diags([np.full(n - 1, -1.0), np.full(n, 2.5), np.full(n - 1, -1.0)], [-1, 0, 1])
    coupling = 0.1 * random.normal(size=(n, q))
    corner = 2.0 * np.eye(q)
    return ArrowEquations(
        sparse.csr_matrix(body), random.normal(size=n), coupling, corner, random.normal(size=q)
    )


def test_by_hand():
    """[[4, 1], [1, 2]] (x, y) = -(2, 3): x = -1/7, y = -10/7."""
    one = ArrowEquations(
        sparse.csr_matrix([[4.0]]), np.array([2.0]), np.array([[1.0]]), np.array([[2.0]]), np.array([3.0])
    )  # fmt: skip
    change, others = solve_arrow_dense(one, CPU)
    assert np.allclose(change, [-1 / 7])
    assert np.allclose(others, [-10 / 7])


@pytest.mark.parametrize("solve", [solve_arrow_dense, solve_arrow_iterated])
@pytest.mark.parametrize("q", [0, 3])
def test_agrees_with_the_sparse_solver(solve, q):
    system = equations(40, q)
    for got, wanted in zip(solve(system, CPU), solve_arrow(system), strict=True):
        assert np.allclose(got, wanted, atol=1e-7 if solve is solve_arrow_iterated else 1e-12)


def test_conjugate_gradients_say_when_they_did_not_arrive():
    assert solve_arrow_iterated(equations(400, 1), CPU, most=3) is None
    assert solve_arrow_iterated(equations(400, 1), CPU, most=400) is not None


def test_entries_that_stand_twice_are_added():
    system = equations(6, 1)
    half = system.hessian.tocoo()
    twice = sparse.coo_matrix(
        (np.tile(half.data / 2, 2), (np.tile(half.row, 2), np.tile(half.col, 2))), shape=half.shape
    )
    doubled = ArrowEquations(
        twice, system.gradient, system.coupling, system.corner, system.corner_gradient
    )
    assert np.allclose(solve_arrow_dense(doubled, CPU)[0], solve_arrow(system)[0])


def test_damping_scales_the_diagonal():
    system = equations(12, 2)
    body = system.hessian + sparse.diags(0.5 * system.hessian.diagonal())
    corner = system.corner + np.diag(0.5 * np.diag(system.corner))
    by_hand = ArrowEquations(body, system.gradient, system.coupling, corner, system.corner_gradient)
    for solve in (solve_arrow_dense, solve_arrow_iterated):
        for got, wanted in zip(solve(system, CPU, 0.5), solve_arrow(by_hand), strict=True):
            assert np.allclose(got, wanted, atol=1e-7)
    assert np.allclose(system.corner, 2.0 * np.eye(2))  # the equations themselves are left alone


def test_indefinite_is_an_error():
    system = equations(5, 1)
    negative = ArrowEquations(
        -system.hessian, system.gradient, system.coupling, system.corner, system.corner_gradient
    )
    with pytest.raises(torch.linalg.LinAlgError):
        solve_arrow_dense(negative, CPU)


def test_the_cpu_takes_the_sparse_solver():
    system = equations(20, 2)
    got, wanted = solve_arrow_on(system, CPU, 0.1), solve_arrow(system, 0.1)
    assert np.array_equal(got[0], wanted[0])
    assert np.array_equal(got[1], wanted[1])
