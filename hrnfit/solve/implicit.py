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

SETTLED = 1e-11
"""Largest change, share of the largest unknown, after which polishing ends."""

ROWS = 64
"""Rows of the Hessian at once: each holds what a backward pass through the whole model needs."""


def at_minimum(blocks: Sequence[Block], leaves: Leaves, steps: int = 1) -> Leaves:
    """The same minimum with its derivatives in every tensor of the blocks that requires one.

    leaves: a minimum of the blocks' energy, of any solver, or near one. steps: Newton steps that polish it,
    the same with and without gradients enabled; the last one carries the derivatives. Steps that would raise the
    energy are not taken. Raises ValueError where the Hessian is singular.
    """
    layout = Layout.of(leaves)
    x = layout.pack(leaves).detach()
    for _ in range(steps - 1):
        moved = _moved(blocks, layout, x)[0]
        if float((moved - x).abs().max()) <= SETTLED * float(x.abs().max()):
            break
        x = moved
    value, step = _moved(blocks, layout, x)
    return layout.unpack(value + (step.detach() - step))


def _moved(
    blocks: Sequence[Block], layout: Layout, at: Float[Tensor, "n"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """The unknowns after a Newton step, unless it raises the energy, and the step as a function."""
    with torch.enable_grad():
        x = at.clone().requires_grad_()
        before = energy(blocks, layout.unpack(x))
        (gradient,) = torch.autograd.grad(before, x, create_graph=True)
        hessian = _hessian(gradient, x)
    step = _newton_step(hessian, gradient)
    with torch.no_grad():
        moved = x - step
        falls = bool(energy(blocks, layout.unpack(moved)) <= before)
        return (moved if falls else x.clone()), step


def _hessian(gradient: Float[Tensor, "n"], x: Float[Tensor, "n"]) -> Float[Tensor, "n n"]:
    """Derivative of the gradient, in batched backward passes of `ROWS`."""
    eye, rows = torch.eye(len(x), dtype=x.dtype, device=x.device), []
    for some in eye.split(ROWS):
        rows += torch.autograd.grad(gradient, x, some, retain_graph=True, is_grads_batched=True)
    hessian = torch.cat(rows)
    return (hessian + hessian.mT) / 2


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
