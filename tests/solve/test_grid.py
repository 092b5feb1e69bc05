"""Normal equations of a map: assembly against a dense reference, the arrow against a dense solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hrnfit.solve.grid import ArrowEquations, MapGrid, solve_arrow

DOUBLE = torch.float64


def sampling(nodes: int, size: int) -> Tensor:
    """(S S, D D): what torch's bilinear look-up with a repeated border reads of every node."""
    axis = (torch.arange(size, dtype=DOUBLE) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y], -1)[None]
    unit = torch.eye(nodes**2, dtype=DOUBLE).view(1, nodes**2, nodes, nodes)
    read = torch.nn.functional.grid_sample(
        unit, grid, align_corners=False, padding_mode="border", mode="bilinear"
    )
    return read[0].flatten(1).T


@pytest.mark.parametrize(("nodes", "size"), [(4, 8), (3, 12), (5, 10)])
@pytest.mark.parametrize("channels", [1, 3])
def test_assembly_agrees_with_a_dense_product(nodes, size, channels, generator):
    A = sampling(nodes, size).numpy()
    half = torch.randn(size, size, channels, channels, generator=generator, dtype=DOUBLE)
    blocks = half @ half.mT
    dense = np.einsum("pa,pij,pb->aibj", A, blocks.flatten(0, 1).numpy(), A)
    n = nodes**2 * channels
    grid = MapGrid(nodes, channels)
    assert np.allclose(grid.hessian(blocks.flatten(2)).toarray(), dense.reshape(n, n))
    values = torch.randn(size, size, 5, generator=generator, dtype=DOUBLE)
    assert np.allclose(grid.gradient(values), A.T @ values.flatten(0, 1).numpy())


def test_one_texel_by_hand():
    """Nodes at 1/4 and 3/4; texel (0, 0) of eight lies beyond the first node: all weight there. The
    texel at 5/16 across is 1/8 of the way from the first node to the second."""
    grid = MapGrid(2, 1)
    one = torch.zeros(8, 8, 1)
    one[0, 0] = 2.0
    assert grid.gradient(one).ravel().tolist() == [2.0, 0.0, 0.0, 0.0]
    one = torch.zeros(8, 8, 1)
    one[0, 2] = 1.0
    assert grid.gradient(one).ravel().tolist() == [0.875, 0.125, 0.0, 0.0]
    expected = np.outer([0.875, 0.125], [0.875, 0.125])
    assert np.allclose(grid.hessian(one).toarray()[:2, :2], expected)


def test_weights_of_every_texel_sum_to_one(generator):
    values = torch.rand(24, 24, 2, generator=generator, dtype=DOUBLE)
    summed = MapGrid(6, 2).gradient(values).sum(0)
    assert np.allclose(summed, values.sum((0, 1)).numpy())


@pytest.mark.parametrize(("size", "take"), [(30, 24), (36, 48), (8, 24)])
def test_a_square_that_does_not_fit_says_which_would(size, take):
    message = rf"even multiple of the map's 12 nodes.*got {size}; take {take}"
    with pytest.raises(ValueError, match=message):
        MapGrid(12, 3).texels_per_cell(size)


def arrow(generator: torch.Generator, n: int, q: int) -> tuple[ArrowEquations, np.ndarray]:
    """Equations of a random positive definite form, and that form."""
    from scipy import sparse

    A = torch.randn(n + q + 5, n + q, generator=generator, dtype=DOUBLE).numpy()
    A[:, :n] *= np.abs(np.arange(n + q + 5)[:, None] - np.arange(n)) < 4  # sparse in the map
    form = A.T @ A + 0.1 * np.eye(n + q)
    g = torch.randn(n + q, generator=generator, dtype=DOUBLE).numpy()
    parts = ArrowEquations(
        sparse.csr_matrix(form[:n, :n]), g[:n], form[:n, n:], form[n:, n:], g[n:]
    )
    return parts, form


@pytest.mark.parametrize("q", [0, 1, 7])
def test_arrow_solve_is_the_dense_newton_step(q, generator):
    equations, form = arrow(generator, 40, q)
    gradient = np.concatenate([equations.gradient, equations.corner_gradient])
    change, others = solve_arrow(equations)
    assert np.allclose(np.concatenate([change, others]), np.linalg.solve(form, -gradient))


def test_arrow_at_the_optimum_does_not_move(generator):
    equations, _ = arrow(generator, 12, 2)
    still = ArrowEquations(
        equations.hessian, np.zeros(12), equations.coupling, equations.corner, np.zeros(2)
    )
    change, others = solve_arrow(still)
    assert np.array_equal(change, np.zeros(12))
    assert np.array_equal(others, np.zeros(2))
