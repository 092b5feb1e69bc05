"""Products of tall matrices in stretches are the plain products."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry.tall import MOST, STRETCH, stretched_product, tall_product


@pytest.mark.parametrize("rows", [1, STRETCH, 3 * STRETCH + 7, MOST * STRETCH + 1])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_stretches_sum_to_the_whole(rows, batch, generator):
    left = torch.randn(*batch, rows, 4, generator=generator, dtype=torch.float64)
    right = torch.randn(*batch, rows, 3, generator=generator, dtype=torch.float64)
    plain = torch.einsum("...pm,...pn->...mn", left, right)
    assert torch.allclose(stretched_product(left, right), plain)
    assert torch.allclose(tall_product(left, right), plain)


def test_one_row_by_hand():
    left, right = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]])
    assert stretched_product(left, right).tolist() == [[3.0, 5.0], [6.0, 10.0]]
