"""The stencil of a map against the sparse matrix of `MapGrid`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from hrnfit.solve.grid import MapGrid
from hrnfit.solve.stencil import (
    Stencil,
    assembled,
    cell_ramps,
    form_from_matrix,
    gathered,
    offsets,
)
from tests.solve.stencils import as_vector, both, smoothness, texel_blocks


def test_offsets_are_listed_rows_first():
    assert offsets(9)[:4] == [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    assert offsets(25)[12] == (0, 0)


@pytest.mark.parametrize("k", [1, 3])
def test_product_and_diagonal_are_those_of_the_sparse_matrix(k):
    arrow, mine = both(6, k, 0.1, 0)
    x = torch.randn(2, k, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert np.allclose(as_vector(mine.stencil(x)), arrow.hessian @ as_vector(x))
    assert np.allclose(as_vector(mine.stencil.diagonal()), arrow.hessian.diagonal())


def test_node_blocks_are_the_diagonal_blocks_and_damping_adds_to_their_diagonal():
    arrow, mine = both(5, 3, 0.1, 0)
    own = mine.stencil.node_blocks()[:, :, 2, 4].numpy()
    at = (2 * 5 + 4) * 3
    assert np.allclose(own, arrow.hessian[at : at + 3, at : at + 3].toarray())
    weight = torch.arange(75.0, dtype=torch.float64).view(3, 5, 5)
    more = mine.stencil.damped(weight).diagonal() - mine.stencil.diagonal()
    assert torch.allclose(more, weight)


@pytest.mark.parametrize("per_node", [2, 4])
def test_assembly_is_that_of_the_grid(per_node):
    nodes, k = 4, 2
    blocks, pull = texel_blocks(nodes * per_node, k)
    ramps = cell_ramps(nodes, per_node)
    data = assembled(blocks.flatten(2).movedim(-1, 0).contiguous(), ramps)
    stencil = Stencil(
        data.view(9, k, k, nodes, nodes), torch.zeros(25, nodes, nodes, dtype=torch.float64)
    )
    columns = stencil(torch.eye(32, dtype=torch.float64).view(32, k, nodes, nodes))
    unit = as_vector(torch.eye(32, dtype=torch.float64).view(32, k, nodes, nodes))
    theirs = MapGrid(nodes, k).hessian(blocks.flatten(2)) @ unit
    assert np.allclose(as_vector(columns), theirs)
    mine = gathered(pull.movedim(-1, 0).contiguous(), ramps)
    assert np.allclose(as_vector(mine), MapGrid(nodes, k).gradient(pull).ravel())


def test_form_is_exactly_symmetric_and_refuses_far_neighbours():
    form = form_from_matrix(smoothness(6, 0.1), 6)
    assert torch.equal(form[13, 2, 1], form[11, 2, 2])
    far = sparse.coo_array(([1.0], ([0], [3])), shape=(36, 36))
    with pytest.raises(ValueError, match="at most two apart to be coupled, got 3"):
        form_from_matrix(far, 6)
