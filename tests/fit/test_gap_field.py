"""The smooth gap: its covariance by hand, and what either precision makes of it."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.gap_field import FactoredCovariance, InvertedRoot, matern, precision_of


def test_matern_by_hand():
    points = torch.tensor([[0.0, 0, 0], [3.0, 0, 0]], dtype=torch.float64)
    a = 3.0**0.5  # at the distance of the reach
    expected = 4.0 * (1 + a) * torch.tensor(-a).exp().double()
    K = matern(points, 2.0, 3.0)
    assert torch.allclose(K.diagonal(), torch.full((2,), 4.0, dtype=torch.float64))
    assert float(K[0, 1]) == pytest.approx(float(expected))


@pytest.mark.parametrize("kind", [precision_of, InvertedRoot.of])
def test_precisions_agree_with_a_dense_solve(kind, generator):
    points = 100.0 * torch.rand(60, 3, generator=generator, dtype=torch.float64)
    K = matern(points, 0.7, 30.0) + 0.01 * torch.eye(60, dtype=torch.float64)
    r = torch.randn(60, generator=generator, dtype=torch.float64)
    J = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    precision = kind(K)
    assert torch.allclose(precision.solved(r), torch.linalg.solve(K, r), rtol=1e-8)
    assert float(precision.square(r)) == pytest.approx(float(r @ torch.linalg.solve(K, r)))
    hessian, gradient = precision.products(J, r)
    assert torch.allclose(hessian, J.T @ torch.linalg.solve(K, J), rtol=1e-8)
    assert torch.allclose(gradient, J.T @ torch.linalg.solve(K, r), rtol=1e-8)


def test_the_cpu_factors():
    assert isinstance(precision_of(torch.eye(3, dtype=torch.float64)), FactoredCovariance)
