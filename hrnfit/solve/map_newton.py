"""The Newton step of a map on the device: conjugate gradients on its stencil, and a border by its Schur complement.

`solve_arrow` in tensors, with a fixed number of steps and nothing read by the host, so that it can be recorded.
A float32 multigrid cycle preconditions float64 conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.solve.multigrid import Ladder, Multigrid
from hrnfit.solve.stencil import Stencil

Apply = Callable[[Tensor], Tensor]

ROUNDS = 10
"""Steps of conjugate gradients: on equations of all seven map stages of `rig` they leave 1e-7 to 6e-6 of the
residual and 1e-5 mm of error in steps of 0.3 to 2 mm."""
TOLERANCE = 1e-8
"""Relative residual at which a right-hand side is left as it is."""


@dataclass(frozen=True)
class MapEquations:
    """Normal equations of a map (k, H, W) and q others, float64 on one device."""

    stencil: Stencil
    gradient: Float[Tensor, "k H W"]
    stiffness: Float[Tensor, "k H W"]
    """What a damping of 1 adds to the diagonal."""
    coupling: Float[Tensor, "q k H W"]
    corner: Float[Tensor, "q q"]
    corner_gradient: Float[Tensor, "q"]


def solve_map_equations(
    equations: MapEquations, ladder: Ladder, damping: Float[Tensor, ""], rounds: int = ROUNDS
) -> tuple[Float[Tensor, "k H W"], Float[Tensor, "q"], Float[Tensor, ""]]:
    """Newton step of the map and of the others, and the largest relative residual that is left.

    ladder: of the stencil's form. damping: relative, as in `solve_arrow`.
    """
    right = torch.cat([equations.gradient[None], equations.coupling])
    solved, left = _solved(equations, right, ladder, damping, rounds)
    change, others = _eliminated(equations, solved, damping)
    return change, others, left


def _solved(
    equations: MapEquations, right: Tensor, ladder: Ladder, damping: Tensor, rounds: int
) -> tuple[Float[Tensor, "c k H W"], Float[Tensor, ""]]:
    """The damped map for each right-hand side, and the largest relative residual that is left."""
    if has_kernels(right.device):
        from hrnfit.solve.gradients_cuda import stencil_gradients  # local: triton
        from hrnfit.solve.hierarchy_cuda import hierarchy

        grid = hierarchy(equations.stencil, equations.stiffness, damping, ladder)
        return stencil_gradients(grid, right, rounds, TOLERANCE)
    body = equations.stencil.damped(damping * equations.stiffness)
    return conjugate_gradients(body, right, Multigrid.of(body, ladder), rounds)


def conjugate_gradients(
    operator: Apply,
    right: Float[Tensor, "c k H W"],
    precondition: Apply,
    rounds: int = ROUNDS,
    tolerance: float = TOLERANCE,
) -> tuple[Float[Tensor, "c k H W"], Float[Tensor, ""]]:
    """Hestenes & Stiefel 1952, c right-hand sides side by side; also the largest relative residual.

    A fixed number of steps; a side that is solved to `tolerance` stands still for the rest. `gradients_cuda.py` has the
    same as kernels.
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).flatten(1).sum(1)[:, None, None, None]

    goal = tolerance**2 * dot(right, right)
    solved, residual = torch.zeros_like(right), right
    direction, before = torch.zeros_like(right), torch.ones_like(goal)
    for _ in range(rounds):
        pulled = precondition(residual.float()).to(right)
        energy = dot(residual, pulled)
        moving = dot(residual, residual) > goal
        direction = pulled + energy / before * direction
        image = operator(direction)
        length = torch.where(moving, energy / dot(direction, image).clamp_min(1e-300), 0.0)
        solved, residual = solved + length * direction, residual - length * image
        before = energy.clamp_min(1e-300)
    share = dot(residual, residual) / dot(right, right).clamp_min(1e-300)
    return solved, share.amax().sqrt()


def _eliminated(
    equations: MapEquations, solved: Float[Tensor, "c k H W"], damping: Tensor
) -> tuple[Float[Tensor, "k H W"], Float[Tensor, "q"]]:
    """`grid.eliminated` in tensors: the same damping of the corner, for the same reason."""
    flat, coupling = solved.flatten(1), equations.coupling.flatten(1)
    if len(coupling) == 0:
        return -solved[0], equations.corner_gradient
    corner = equations.corner + torch.diag(1e-3 * damping * equations.corner.diagonal())
    schur = corner - coupling @ flat[1:].mT
    right = coupling @ flat[0] - equations.corner_gradient
    others = torch.linalg.solve_ex(schur, right).result
    return -solved[0] - (others @ flat[1:]).view_as(solved[0]), others
