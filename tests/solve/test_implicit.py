"""Derivatives of a minimum by the implicit function theorem: by hand, and against finite differences."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from hrnfit.solve.block import Block, QuadraticBlock
from hrnfit.solve.implicit import at_minimum
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves

DOUBLE = {"dtype": torch.float64}
SOLVER = LevenbergMarquardt(max_steps=200, tolerance=1e-15)


@dataclass(frozen=True)
class Bent:
    """A residual far from linear, large at the minimum: x0 exp(x1) + y^2 - target, in three copies."""

    target: Tensor
    slots: tuple[tuple[str, int | None], ...] = (("x", None), ("y", 1))

    def residual(self, *values: Tensor) -> Tensor:
        x, y = values
        model = x[..., :1] * x[..., 1:].exp() + y.square()
        return model * self.target.new_tensor([1.0, 0.5, 2.0]) - self.target

    def linearize(self, *values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x, y = values
        factor = self.target.new_tensor([[1.0], [0.5], [2.0]])
        grown = x[..., 1:].exp()
        by_x = factor * torch.cat([grown, x[..., :1] * grown], -1)[..., None, :]
        return self.residual(*values), (by_x, factor * 2 * y[..., None, :])


def blocks_of(target: Tensor, mean: Tensor) -> list[Block]:
    return [
        Bent(target),
        QuadraticBlock(("x", None), mean, torch.full((2,), 0.7, **DOUBLE)),
        QuadraticBlock(("y", 0), mean[:1], torch.ones(1, **DOUBLE)),
        QuadraticBlock(("y", 1), mean[:1], torch.ones(1, **DOUBLE)),
    ]


def start() -> Leaves:
    return {"x": torch.tensor([0.3, 0.2], **DOUBLE), "y": torch.ones(2, 1, **DOUBLE)}


def minimum(target: Tensor, mean: Tensor) -> Tensor:
    blocks = blocks_of(target, mean)
    leaves = at_minimum(blocks, SOLVER.minimize(blocks, start()).leaves)
    return torch.cat([leaves["x"], leaves["y"].flatten()])


def test_derivatives_where_residuals_are_large():
    target = torch.tensor([3.0, -1.0, 2.0], **DOUBLE, requires_grad=True)
    mean = torch.tensor([0.1, -0.2], **DOUBLE, requires_grad=True)
    assert gradcheck(minimum, (target, mean), rtol=1e-4)


def test_by_hand_for_one_unknown():
    """Half (x - a)^2 plus half ((x - b) / s)^2 is least at (a s^2 + b) / (s^2 + 1)."""
    a, s = (torch.tensor([v], **DOUBLE, requires_grad=True) for v in (4.0, 2.0))
    zero, one = torch.zeros(1, **DOUBLE), torch.ones(1, **DOUBLE)
    blocks = [QuadraticBlock(("x", None), a, one), QuadraticBlock(("x", None), zero, s)]
    x = at_minimum(blocks, {"x": torch.tensor([3.2], **DOUBLE)})["x"]
    by_a, by_s = torch.autograd.grad(x.sum(), (a, s))
    assert float(x.detach()) == pytest.approx(3.2)
    assert float(by_a) == pytest.approx(0.8)
    assert float(by_s) == pytest.approx(2 * 4 * 2 / 25)


def test_a_step_polishes_the_minimum():
    blocks = blocks_of(torch.tensor([3.0, -1.0, 2.0], **DOUBLE), torch.zeros(2, **DOUBLE))
    rough = LevenbergMarquardt(max_steps=200, tolerance=1e-4).minimize(blocks, start()).leaves
    exact = SOLVER.minimize(blocks, start()).leaves
    polished = at_minimum(blocks, rough)
    error = (polished["x"] - exact["x"]).norm() / (rough["x"] - exact["x"]).norm()
    assert error < 0.1
    with torch.no_grad():
        plain = at_minimum(blocks, rough)
    assert torch.equal(plain["x"], polished["x"])
    assert not plain["x"].requires_grad


def test_undetermined_unknowns_are_named():
    block = QuadraticBlock(("x", None), torch.zeros(1, **DOUBLE), torch.ones(1, **DOUBLE))
    with pytest.raises(ValueError, match=r"Hessian is singular.*add a prior"):
        at_minimum([block], {"x": torch.zeros(1, **DOUBLE), "y": torch.zeros(2, **DOUBLE)})
