"""The kernels of the multigrid cycle against plain torch: in Triton's interpreter, or on a device."""

from __future__ import annotations

import os
from functools import partial

import pytest
import torch

from hrnfit.solve import cycle_plain
from hrnfit.solve.chebyshev import Chebyshev
from hrnfit.solve.map_newton import MapEquations, conjugate_gradients
from hrnfit.solve.multigrid import Ladder, Multigrid
from hrnfit.solve.stencil import Stencil, plain_product

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from hrnfit.solve import cycle_cuda, gradients_cuda

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
RULE = Chebyshev.on(0.4, 4.4)


def stencil(k: int, count: int, nodes: int, dtype: torch.dtype = torch.float32) -> Stencil:
    generator = torch.Generator().manual_seed(k + count)
    blocks = torch.randn(count, k, k, nodes, nodes, generator=generator)
    form = torch.randn(25, nodes, nodes, generator=generator)
    return Stencil(blocks.to(DEVICE, dtype), form.to(DEVICE, dtype))


def maps(k: int, nodes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(2, k, nodes, nodes, generator=torch.Generator().manual_seed(nodes))
    return x.to(DEVICE, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("k", "count"), [(1, 9), (3, 9), (3, 25)])
def test_products(k, count, dtype):
    A, x = stencil(k, count, 6, dtype), maps(k, 6, dtype)
    theirs = plain_product(A, x)
    assert torch.allclose(cycle_cuda.product(A, x), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("k", "count"), [(1, 25), (3, 9)])
def test_smoothing(k, count):
    A, right, start = stencil(k, count, 5), maps(k, 5), maps(k, 5).flip(-1)
    inverse = torch.randn(k, k, 5, 5, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    for begun in (None, start):
        mine = cycle_cuda.smoothed(A, inverse, right, begun, RULE)
        at = right if begun is None else right - plain_product(A, begun)
        move = RULE.first * (inverse * at[:, None]).sum(2)
        there = move if begun is None else begun + move
        at = right - plain_product(A, there)
        second = RULE.second * (inverse * at[:, None]).sum(2)
        assert torch.allclose(mine, there + RULE.keep * move + second, rtol=1e-3, atol=1e-3)
    assert torch.allclose(
        cycle_cuda.residual(A, right, start), right - plain_product(A, start), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("nodes", [8, 7, 2])
def test_transfers(nodes):
    fine, half = maps(3, nodes), (nodes + 1) // 2
    assert torch.allclose(cycle_cuda.restricted(fine), cycle_plain.restricted(fine), atol=1e-5)
    coarse = maps(3, half)
    mine = cycle_cuda.prolonged(coarse, fine)
    assert torch.allclose(mine, cycle_plain.prolonged(coarse, fine), atol=1e-5)


def test_dense_and_node_inverses():
    blocks = torch.randn(16, 3, 3, generator=torch.Generator().manual_seed(3))
    blocks = (blocks @ blocks.mT + torch.eye(3)).to(DEVICE).movedim(0, -1).view(3, 3, 4, 4)
    mine = cycle_cuda.inverted(blocks)
    assert torch.allclose(mine, cycle_plain.inverted(blocks), rtol=1e-4, atol=1e-4)
    inverse, right = maps(3, 12)[0, 0], maps(3, 2)
    mine = cycle_cuda.solved_densely(inverse, right)
    assert torch.allclose(mine, (right.flatten(1) @ inverse.mT).view_as(right), atol=1e-4)


def test_gradients_of_kernels_are_those_of_torch():
    equations = small_equations(8, 1)
    right = torch.stack([equations.gradient, torch.zeros_like(equations.gradient)]).to(DEVICE)
    A = Stencil(equations.stencil.blocks.to(DEVICE), equations.stencil.form.to(DEVICE))
    scale = 1.0 / A.diagonal()

    def jacobi(r: torch.Tensor) -> torch.Tensor:
        return (scale * r).float()

    mine, left = gradients_cuda.stencil_gradients(A, right, jacobi, 12, 1e-8)
    theirs, ours = conjugate_gradients(partial(plain_product, A), right, jacobi, 12, 1e-8)
    assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))
    assert float(left) == pytest.approx(float(ours), rel=1e-4)
    assert torch.equal(mine[1], torch.zeros_like(mine[1]))


def small_equations(nodes: int, k: int) -> MapEquations:
    from tests.solve.stencils import both  # local: this module sets the interpreter first

    return both(nodes, k, 0.1, 0)[1]


def test_the_cycle_of_kernels_is_that_of_torch(monkeypatch):
    equations = small_equations(6, 3)
    ladder = Ladder.of(equations.stencil.form, 3)
    right = equations.gradient[None].float()
    theirs = Multigrid.of(equations.stencil, ladder)(right)
    monkeypatch.setattr("hrnfit.solve.multigrid.operations", lambda device: cycle_cuda)
    mine = Multigrid.of(equations.stencil, ladder)(right)
    assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
