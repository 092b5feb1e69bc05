"""Derivatives of a minimum in everything its blocks hold, by the implicit function theorem.

At a minimum x*(t) of E(x; t) the gradient g(x*; t) vanishes for every t, so dx* / dt = -H^-1 dg / dt
with the full Hessian H of E. Against the Gauss-Newton step of `theseus_lm.py` this is exact at any size
of the residuals and under any robust kernel, and costs one backward pass per unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.solve.block import Block, Layout, energy
from hrnfit.solve.solver import Leaves


def at_minimum(blocks: Sequence[Block], leaves: Leaves) -> Leaves:
    """The same minimum with its derivatives in every tensor of the blocks that requires one.

    leaves: a minimum of the blocks' energy, of any solver. One Newton step is made, which polishes it, so
    that the values are the same with and without gradients enabled; of a step that would raise the
    energy only the derivatives stay. Raises ValueError where the Hessian is singular.
    """
    layout = Layout.of(leaves)
    with torch.enable_grad():
        x = layout.pack(leaves).detach().requires_grad_()
        before = energy(blocks, layout.unpack(x))
        (gradient,) = torch.autograd.grad(before, x, create_graph=True)
        hessian = _hessian(gradient, x)
    step = _newton_step(hessian, gradient)
    with torch.no_grad():
        moved = x - step
        falls = bool(energy(blocks, layout.unpack(moved)) <= before)
        value = moved if falls else x.clone()
    return layout.unpack(value + (step.detach() - step))


def _hessian(gradient: Float[Tensor, "n"], x: Float[Tensor, "n"]) -> Float[Tensor, "n n"]:
    """Derivative of the gradient, all rows in one batched backward pass."""
    eye = torch.eye(len(x), dtype=x.dtype, device=x.device)
    (rows,) = torch.autograd.grad(gradient, x, eye, retain_graph=True, is_grads_batched=True)
    return (rows + rows.mT) / 2


def _newton_step(hessian: Float[Tensor, "n n"], gradient: Float[Tensor, "n"]) -> Tensor:
    """H^-1 g with rows and columns scaled alike: radians, mm and standard deviations in one system."""
    scale = hessian.diagonal().abs().clamp_min(1e-30).rsqrt()
    scaled = hessian * scale[:, None] * scale
    solution, info = torch.linalg.solve_ex(scaled, scale * gradient)
    if int(info) != 0 or not bool(torch.isfinite(solution.detach()).all()):
        raise ValueError(
            "minimum: its Hessian is singular, so it has no derivatives; some unknown is not determined: "
            "add a prior on it, or leave it out of the free ones"
        )
    return scale * solution
