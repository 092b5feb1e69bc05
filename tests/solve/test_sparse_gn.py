import math

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from hrnfit.solve.forward_mode import ForwardBlock
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Outcome
from hrnfit.solve.sparse_gn import SparseGaussNewton, grid_laplacian, sparse_equations

SIZE = 6


def curved(x: Tensor) -> Tensor:
    """One nonlinear residual per map entry, a bump to be found."""
    v, u = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    goal = torch.stack([(u + c * v).double().sin() for c in range(3)], -1)
    return x + 0.3 * x.pow(3) - goal


def linearize(x: Tensor):
    jacobian = sparse.diags_array((1 + 0.9 * x.square()).reshape(-1).numpy())
    return sparse_equations(curved(x).reshape(-1), jacobian)


def energy(x: Tensor) -> float:
    return 0.5 * float(curved(x).square().sum())


def start() -> Tensor:
    return torch.zeros(SIZE, SIZE, 3, dtype=torch.float64)


def regulariser(weight: float):
    L = grid_laplacian(SIZE, SIZE, 3)
    return weight * (L.T @ L)


def test_laplacian_leaves_planes_free_and_sees_a_bump():
    v, u = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    plane = torch.stack([2 * u + v, u - 3 * v + 1, 5 + 0 * u], -1).double().reshape(-1)
    L = grid_laplacian(SIZE, SIZE, 3)
    assert np.abs(L @ plane.numpy()).max() < 1e-12
    bump = np.zeros((SIZE, SIZE, 3))
    bump[2, 3, 1] = 1.0
    found = L @ bump.reshape(-1)
    assert sorted(found[found != 0].tolist()) == [-2, -2, 1, 1, 1, 1]


def test_equations_by_hand():
    J = sparse.csr_array(np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]))
    e, w = torch.tensor([1.0, -1.0, 2.0]), torch.tensor([1.0, 1.0, 0.5])
    found = sparse_equations(e, J, w)
    assert found.energy == pytest.approx(0.5 * (1 + 1 + 2))
    assert np.allclose(found.gradient, [3.0, -2.0])
    assert np.allclose(found.hessian.toarray(), [[4.5, 0.5], [0.5, 9.5]])


@pytest.mark.parametrize("method", ["direct", "cg"])
def test_agrees_with_the_dense_solver(method):
    R = regulariser(0.2)
    solver = SparseGaussNewton(max_steps=40, tolerance=1e-12, method=method, cg_tolerance=1e-10)
    found = solver.minimize(linearize, energy, start(), R)
    root = torch.from_numpy(math.sqrt(0.2) * grid_laplacian(SIZE, SIZE, 3).toarray())
    dense = LevenbergMarquardt(tolerance=1e-13).minimize(
        [
            ForwardBlock((("map", None),), lambda x: curved(x.reshape(SIZE, SIZE, 3)).reshape(-1)),
            ForwardBlock((("map", None),), lambda x: root @ x),
        ],
        {"map": start()},
    )
    assert found.outcome is Outcome.CONVERGED
    assert found.energies[-1] == pytest.approx(dense.energies[-1], rel=1e-9)
    assert torch.allclose(found.leaves["deformation"], dense.leaves["map"], atol=1e-5)


def test_energy_always_falls_and_the_shape_is_kept():
    found = SparseGaussNewton().minimize(
        linearize, energy, start().float().double(), regulariser(1)
    )
    assert found.leaves["deformation"].shape == (SIZE, SIZE, 3)
    assert all(b < a for a, b in zip(found.energies, found.energies[1:], strict=False))


def test_a_wrong_gradient_is_refused():
    def wrong(x: Tensor):
        found = linearize(x)
        return type(found)(found.energy, found.hessian, -found.gradient)

    found = SparseGaussNewton(max_retries=4).minimize(wrong, energy, start(), regulariser(0.1))
    assert (found.outcome, found.steps) == (Outcome.STALLED, 0)
    assert torch.equal(found.leaves["deformation"], start())


def test_non_finite_start_is_reported():
    found = SparseGaussNewton().minimize(
        linearize, lambda x: math.nan, start(), regulariser(0.1), name="map"
    )
    assert found.outcome is Outcome.NON_FINITE
    assert torch.equal(found.leaves["map"], start())


def test_regulariser_of_another_size_is_an_error():
    with pytest.raises(ValueError, match=r"regulariser: expected \(108, 108\), got \(3, 3\)"):
        SparseGaussNewton().minimize(linearize, energy, start(), sparse.eye_array(3))
