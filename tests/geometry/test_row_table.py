"""Sparse matrices as tables: the same product, whatever stands before the rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from hrnfit.geometry.row_table import RowTable

MATRIX = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0], [4.0, 5.0, 6.0]])
"""A row without entries, and rows of one to three."""


@pytest.mark.parametrize("batch", [(), (2,), (2, 1)])
def test_the_product(batch, generator):
    values = torch.randn(*batch, 3, 2, dtype=torch.float64, generator=generator)
    table = RowTable.of(sp.csr_array(MATRIX), values)
    assert table.columns.shape == (4, 3)
    torch.testing.assert_close(table(values), torch.from_numpy(MATRIX) @ values)


def test_an_empty_matrix_gives_zeros():
    values = torch.ones(3, 2)
    table = RowTable.of(sp.csr_array((2, 3)), values)
    assert torch.equal(table(values), torch.zeros(2, 2))
    assert table.weights.dtype == torch.float32


def test_gradient(generator):
    values = torch.randn(3, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(RowTable.of(sp.csr_array(MATRIX), values), values)
