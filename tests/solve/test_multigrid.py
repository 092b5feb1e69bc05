"""The multigrid cycle: its operators by hand, its symmetry, and how fast it makes conjugate gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from hrnfit.solve.cycle_plain import inverted, transfer
from hrnfit.solve.map_newton import conjugate_gradients
from hrnfit.solve.multigrid import Ladder, Multigrid
from hrnfit.solve.stencil import Stencil
from tests.solve.stencils import as_vector, both


def test_values_are_interpolated_between_centres():
    p = transfer(12)
    assert p.shape == (12, 6)
    assert p[0].tolist() == [1.0, 0, 0, 0, 0, 0]
    assert p[3].tolist() == [0, 0.75, 0.25, 0, 0, 0]
    assert torch.allclose(p.sum(1), torch.ones(12, dtype=torch.float64))


@pytest.mark.parametrize("nodes", [8, 10, 7])
def test_the_coarsest_operator_is_the_galerkin_product(nodes):
    arrow, mine = both(nodes, 3, 0.1, 0)
    ladder = Ladder.of(mine.stencil.form, 3)
    grid = Multigrid.of(mine.stencil, ladder)
    P = sparse.eye(3 * nodes**2)
    for form in ladder.forms[:-1]:
        p = transfer(form.shape[-1]).numpy()
        P = P @ sparse.kron(sparse.kron(p, p), sparse.eye(3))
    coarse = (P.T @ arrow.hessian @ P).toarray()
    n = int((len(coarse) / 3) ** 0.5)
    order = np.arange(len(coarse)).reshape(n * n, 3).T.ravel()
    found = np.linalg.inv(grid.coarsest.double().numpy())
    assert np.allclose(found, coarse[np.ix_(order, order)], rtol=1e-3, atol=1e-4 * coarse.max())


def test_blocks_are_inverted_node_by_node():
    blocks = torch.randn(4, 5, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    blocks = blocks @ blocks.mT + torch.eye(3)
    there = inverted(blocks.movedim((2, 3), (0, 1)))
    assert torch.allclose(there.movedim((0, 1), (2, 3)), torch.linalg.inv(blocks))


def test_the_cycle_is_symmetric_and_positive():
    _, mine = both(12, 1, 1.0, 0)
    grid = Multigrid.of(mine.stencil, Ladder.of(mine.stencil.form, 1))
    assert len(grid.levels) == 1
    matrix = grid(torch.eye(144).view(144, 1, 12, 12)).flatten(1).double()
    assert torch.allclose(matrix, matrix.mT, rtol=1e-4, atol=1e-5 * float(matrix.max()))
    assert float(torch.linalg.eigvalsh(matrix + matrix.mT).min()) > 0


@pytest.mark.parametrize("bending", [1e-3, 1.0, 1e3])
def test_conjugate_gradients_take_few_rounds_whatever_the_stiffness(bending):
    arrow, mine = both(24, 1, bending, 0)
    grid = Multigrid.of(mine.stencil, Ladder.of(mine.stencil.form, 1))
    solved, left = conjugate_gradients(mine.stencil, mine.gradient[None], grid, rounds=14)
    residual = arrow.hessian @ as_vector(solved[0]) - arrow.gradient
    share = np.linalg.norm(residual) / np.linalg.norm(arrow.gradient)
    assert share < 1e-5
    assert float(left) == pytest.approx(share, rel=0.1, abs=1e-10)


def test_solved_sides_stand_still():
    _, mine = both(8, 1, 0.1, 0)
    operator = Stencil(mine.stencil.blocks, mine.stencil.form)
    grid = Multigrid.of(operator, Ladder.of(operator.form, 1))
    zero = torch.zeros_like(mine.gradient)
    solved, left = conjugate_gradients(operator, torch.stack([zero, mine.gradient]), grid, 30)
    assert torch.equal(solved[0], zero)
    assert float(left) < 1e-8
    assert bool(torch.isfinite(solved).all())
