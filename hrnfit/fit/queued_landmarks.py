"""The landmark energy of a start as one function of a packed vector, for a device to run by itself.

The law is that of `landmark_group.py` and of the priors of `landmark_problem.py`. The host puts the problem together
and sends it in one copy; on it, an iteration over 160 unknowns is 1,000 small operations and takes 12 ms, on an
H100 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBlock, WhitenedLandmarkBlock
from hrnfit.fit.landmark_group import GroupedProblem
from hrnfit.fit.tensor_trees import hollow, rebuilt, sent, skeleton, tensors_of
from hrnfit.geometry.kept import kept_for_good, kept_with
from hrnfit.geometry.tall import tall_product
from hrnfit.solve.block import Layout, QuadraticBlock, Slot, slot_values
from hrnfit.solve.levenberg_marquardt import Bounds, LevenbergMarquardt
from hrnfit.solve.queued_lm import PackedProblem
from hrnfit.solve.solver import Leaves, Solution

Equations = tuple[Tensor, Tensor, Tensor]
"""Energy (), Hessian (n, n) and gradient (n) over packed leaves."""


class _Prior(NamedTuple):
    """Of all quadratic blocks together."""

    mean: Float[Tensor, "n"]
    precision: Float[Tensor, "n"]


def landmark_solution(
    device: torch.device,
    solver: LevenbergMarquardt,
    problem: GroupedProblem,
    leaves: Leaves,
    bounds: Bounds,
) -> Solution:
    """The solver's solution, leaves on the host. On the CPU decided there; elsewhere on the device."""
    if device.type == "cpu":
        return solver.minimize_function(problem.equations, problem.energy, leaves, bounds)
    layout = Layout.of(leaves)
    packed, there = packed_landmarks(problem, layout, leaves, device)
    found = solver.minimize_packed(packed, there, bounds)
    moved = layout.unpack(layout.pack(found.leaves).cpu())
    return Solution(moved, found.outcome, found.steps, found.energies, seconds=found.seconds)


def packed_landmarks(
    problem: GroupedProblem, layout: Layout, leaves: Leaves, device: torch.device
) -> tuple[PackedProblem, Leaves]:
    """The problem, and the leaves, on a device."""
    blocks = [b for b in problem.rest if isinstance(b, (LandmarkBlock, WhitenedLandmarkBlock))]
    priors = [block for block in problem.rest if isinstance(block, QuadraticBlock)]
    if len(blocks) + len(priors) < len(problem.rest):
        raise TypeError("a start has landmarks and quadratic priors alone")
    groups = tuple(replace(group, table=_table_on(device, group.table)) for group in problem.groups)
    trees = (groups, tuple(blocks), _prior(priors, layout, leaves))
    start, trees = sent((layout.pack(leaves), trees), device)
    shapes = hollow(trees)

    def linearize(x: Tensor, *tensors: Tensor) -> Equations:
        groups, blocks, prior = rebuilt(shapes, tensors)
        off = x - prior.mean
        pulled = prior.precision * off
        total: Equations = (0.5 * pulled @ off, torch.diag(prior.precision), pulled)
        values = layout.unpack(x)
        for group in groups:
            own = group.equations(*group.values(values))
            at = _places(_columns(layout, group.slots), x.device)
            total = _sum(total, at, (own.energy, own.hessian, own.gradient))
        for block in blocks:
            at = _places(_columns(layout, block.slots), x.device)
            total = _sum(total, at, _squares(block, values))
        return total

    key = ("start", tuple(layout.shapes.items()), skeleton((problem.groups, tuple(blocks))))
    return PackedProblem(linearize, tensors_of(trees), key), layout.unpack(start)


def _table_on(device: torch.device, table: Float[Tensor, "L 3 C"]) -> Float[Tensor, "L 3 C"]:
    """A basis on a device, where it stays as long as here."""
    if device.type == "cpu":
        return table
    return kept_with(table, ("on", device), lambda: table.to(device))


def _prior(priors: Sequence[QuadraticBlock], layout: Layout, leaves: Leaves) -> _Prior:
    """Means and precisions; several priors on one unknown become one, up to a constant."""
    like = layout.pack(leaves)
    precision, pulled = torch.zeros_like(like), torch.zeros_like(like)
    for block in priors:
        at, own = layout.columns(block.slot), block.deviation**-2
        precision[at] += own
        pulled[at] += own * block.mean
    mean = torch.where(precision > 0, pulled / precision.clamp_min(1e-300), 0.0)
    return _Prior(mean, precision)


def _squares(block: LandmarkBlock | WhitenedLandmarkBlock, leaves: Leaves) -> Equations:
    """Normal equations of one view by its Jacobian, over its own slots."""
    residual, jacobians = block.linearize(*slot_values(block, leaves))
    A = torch.cat(jacobians, -1)
    return 0.5 * residual @ residual, tall_product(A, A), A.mT @ residual


def _columns(layout: Layout, slots: Sequence[Slot]) -> tuple[int, ...]:
    """Places of the slots' unknowns among the packed leaves, which differ."""
    found = (layout.columns(slot) for slot in slots)
    return tuple(i for column in found for i in range(column.start, column.stop))


@kept_for_good
def _places(columns: tuple[int, ...], device: torch.device) -> Int[Tensor, "m"]:
    return torch.tensor(columns, dtype=torch.int64, device=device)


def _sum(total: Equations, at: Int[Tensor, "m"], own: Equations) -> Equations:
    """The equations with those of some unknowns added."""
    energy, hessian, gradient = total
    spread = torch.zeros_like(hessian)
    spread[at[:, None], at] = own[1]
    return energy + own[0], hessian + spread, gradient.index_add(0, at, own[2])
