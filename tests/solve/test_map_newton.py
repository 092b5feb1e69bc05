"""The Newton step on the device against the sparse factorisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.solve.grid import solve_arrow
from hrnfit.solve.map_newton import solve_map_equations
from hrnfit.solve.multigrid import Ladder
from tests.solve.stencils import as_vector, both


@pytest.mark.parametrize(("k", "q", "damping"), [(3, 0, 1e-3), (3, 4, 1e-3), (1, 2, 1.0)])
def test_agrees_with_the_sparse_factorisation(k, q, damping):
    arrow, mine = both(12, k, 0.1, q)
    change, others = solve_arrow(arrow, damping)
    ladder = Ladder.of(mine.stencil.form, k)
    moved, along, left = solve_map_equations(mine, ladder, torch.tensor(damping).double(), 24)
    assert float(left) < 1e-6
    assert np.allclose(as_vector(moved), change, atol=1e-5 * abs(change).max())
    assert np.allclose(along.numpy(), others, atol=1e-6 * abs(others).max(initial=0.0))
