"""The kernel of sums at nodes against plain torch: in Triton's interpreter, or on a device."""

from __future__ import annotations

import os

import pytest
import torch

from hrnfit.solve.stencil import assembled, cell_ramps, gathered

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from hrnfit.solve.nodes_cuda import sums_at_nodes

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(("nodes", "per_node", "pairs"), [(5, 2, 4), (4, 6, 1), (6, 4, 0)])
def test_sums_are_those_of_the_square(nodes, per_node, pairs):
    size = nodes * per_node
    generator = torch.Generator().manual_seed(size)
    seen = torch.randperm(size * size, generator=generator)[: size * size // 2]
    places = torch.full((size * size,), -1, dtype=torch.int32)
    places[seen] = torch.arange(len(seen), dtype=torch.int32)
    values = torch.randn(pairs + 2, len(seen), generator=generator)
    square = torch.zeros(pairs + 2, size * size).index_copy(1, seen, values)
    square, ramps = square.view(-1, size, size), cell_ramps(nodes, per_node).float()
    places = places.view(size, size).to(DEVICE)
    paired, single = sums_at_nodes(values.to(DEVICE), places, ramps.to(DEVICE), pairs)
    assert torch.allclose(paired.cpu(), assembled(square[:pairs], ramps), rtol=1e-5, atol=1e-5)
    expected = gathered(square[pairs:], ramps).double()
    assert torch.allclose(single.cpu(), expected, rtol=1e-5, atol=1e-5)
