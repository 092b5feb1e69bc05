"""The kernels of the multigrid cycle against plain torch: in Triton's interpreter, or on a device."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from hrnfit.solve.map_newton import MapEquations, conjugate_gradients
from hrnfit.solve.multigrid import Ladder, Multigrid
from hrnfit.solve.stencil import Stencil, plain_product

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from hrnfit.solve import cycle_cuda, gradients_kernels
from hrnfit.solve.gradients_cuda import stencil_gradients
from hrnfit.solve.hierarchy_cuda import hierarchy

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MAPS = [(6, 3), (9, 1), (5, 5), (17, 3)]
"""Nodes a side and channels: without and with levels above the bottom, odd sides, a bottom of one and of two levels."""


def stencil(k: int, count: int, nodes: int, dtype: torch.dtype = torch.float32) -> Stencil:
    generator = torch.Generator().manual_seed(k + count)
    blocks = torch.randn(count, k, k, nodes, nodes, generator=generator)
    form = torch.randn(25, nodes, nodes, generator=generator)
    return Stencil(blocks.to(DEVICE, dtype), form.to(DEVICE, dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("k", "count"), [(1, 9), (3, 9), (3, 25)])
def test_products(k, count, dtype):
    A = stencil(k, count, 6, dtype)
    x = torch.randn(2, k, 6, 6, generator=torch.Generator().manual_seed(6)).to(DEVICE, dtype)
    theirs = plain_product(A, x)
    assert torch.allclose(cycle_cuda.product(A, x), theirs, rtol=1e-4, atol=1e-4)


def equations_of(nodes: int, k: int, q: int = 0) -> tuple[MapEquations, Ladder]:
    from tests.solve.stencils import both  # local: this module sets the interpreter first

    found = both(nodes, k, 0.1, q)[1]
    ladder = Ladder.of(found.stencil.form.to(DEVICE), k)
    moved = {n: x.to(DEVICE) for n, x in vars(found).items() if isinstance(x, torch.Tensor)}
    here = Stencil(found.stencil.blocks.to(DEVICE), found.stencil.form.to(DEVICE))
    return replace(found, stencil=here, **moved), ladder


@pytest.mark.parametrize(("nodes", "k"), MAPS)
def test_the_hierarchy_and_the_cycle_are_those_of_torch(nodes, k):
    equations, ladder = equations_of(nodes, k)
    damping = torch.tensor(0.1, dtype=torch.float64, device=DEVICE)
    body = equations.stencil.damped(damping * equations.stiffness)
    mine, theirs = (
        hierarchy(equations.stencil, equations.stiffness, damping, ladder),
        Multigrid.of(body, ladder),
    )
    assert torch.allclose(mine.body.blocks, body.blocks, rtol=1e-14)
    assert torch.allclose(
        mine.bottom.coarsest, theirs.coarsest, rtol=1e-5, atol=1e-6 * float(theirs.coarsest.max())
    )
    assert len(mine.levels) + (mine.bottom.level is not None) == len(theirs.levels)
    for level, plain in zip(mine.levels, theirs.levels, strict=False):
        assert torch.allclose(level.inverse, plain.inverse, rtol=1e-4)
    right = torch.randn(2, k, nodes, nodes, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    expected = theirs(right)
    assert torch.allclose(mine(right), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("nodes", "k"), [(5, 1), (17, 2)])
def test_gradients_of_kernels_are_those_of_torch(nodes, k):
    equations, ladder = equations_of(nodes, k, 1)
    zero = torch.zeros_like(equations.gradient)
    right = torch.cat([equations.gradient[None], equations.coupling, zero[None]])
    damping = torch.tensor(0.1, dtype=torch.float64, device=DEVICE)
    body = equations.stencil.damped(damping * equations.stiffness)
    grid = hierarchy(equations.stencil, equations.stiffness, damping, ladder)
    mine, left = stencil_gradients(grid, right, 3, 1e-8)
    theirs, ours = conjugate_gradients(body, right, Multigrid.of(body, ladder), 3, 1e-8)
    assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))
    assert float(left) == pytest.approx(float(ours), rel=1e-4)
    assert torch.equal(mine[2], zero)


@pytest.mark.parametrize("sides", [2, 3])
def test_a_side_that_is_nan_is_not_passed_over(sides):
    squares = torch.ones(2, sides, 4, dtype=torch.float64, device=DEVICE)
    squares[0] *= 4.0

    def left() -> float:
        out = squares.new_empty(())
        gradients_kernels.remaining[(1,)](squares[1], squares[0], out, sides, 4, CP=4, GSP=4)
        return float(out)

    assert left() == 0.5
    squares[1, 1, 2] = torch.nan
    assert left() != left()
