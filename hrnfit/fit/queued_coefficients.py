"""The problem of `coefficient_stage` as one function of a packed vector, for a device to run by itself.

Skin (`queued_skin.py`), priors, the tie of mirror images and the held landmarks in one linearisation of fixed
shapes, which `solve/queued_lm.py` records. Looking at visibility and light anew, and sliding contours, stay
outside of it, once per round.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBlock, WhitenedLandmarkBlock
from hrnfit.fit.held_landmarks import HeldLandmarks
from hrnfit.fit.mirror import MirrorImage, mirror_matrix, with_mirror
from hrnfit.fit.queued_skin import SkinConstants, SkinPlan, skin_equations
from hrnfit.fit.tensor_trees import hollow, rebuilt, sent, skeleton, tensors_of
from hrnfit.solve.block import Layout, slot_values
from hrnfit.solve.levenberg_marquardt import Bounds, LevenbergMarquardt
from hrnfit.solve.queued_lm import PackedProblem
from hrnfit.solve.solver import Leaves, Solution

Blocks = Sequence[LandmarkBlock | WhitenedLandmarkBlock]


@dataclass(frozen=True)
class SkinRound:
    """What one round holds fixed of the skin and its priors, over the unknowns of all its views."""

    plan: SkinPlan
    constants: SkinConstants
    means: Leaves
    """Of the priors, on any device."""
    precisions: Leaves


@runtime_checkable
class SkinProblem(Protocol):
    """The skin's part of the stage."""

    def refresh(self, leaves: Leaves) -> None:
        """Look at visibility and the light field anew."""
        ...

    def round(self) -> SkinRound:
        """What stands still until the next `refresh`."""
        ...


def queued_round(
    solver: LevenbergMarquardt,
    skin: SkinProblem,
    swap: MirrorImage | None,
    held: HeldLandmarks | None,
    bounds: Bounds,
) -> Callable[[Leaves], Solution]:
    """One round of a solve over leaves, decided on their device; the CPU too. For linear models."""

    unknowns: list[Unknowns] = []  # the same in all rounds

    def solve(leaves: Leaves) -> Solution:
        skin.refresh(leaves if swap is None else with_mirror(leaves, swap))
        blocks, fixed = (), {}
        if held is not None:
            held.refresh({name: leaf.cpu() for name, leaf in leaves.items()})
            blocks, fixed = held.blocks, held.fixed
        now = skin.round()
        if not unknowns:
            unknowns.append(unknowns_of(now, leaves, swap))
        problem = packed_problem(now, unknowns[0], blocks, fixed)
        return solver.minimize_packed(problem, leaves, bounds)

    return solve


class _Prior(NamedTuple):
    """Priors, and how the unknowns of all views follow from those that are solved for."""

    mean: Float[Tensor, "m"]
    precision: Float[Tensor, "m"]
    spread: Float[Tensor, "m n"]
    """All unknowns, in the order of the leaves."""
    columns: Float[Tensor, "m n"]
    """The same, in the order of `skin_equations`."""


@dataclass(frozen=True)
class Unknowns:
    """What is solved for, and what follows from it."""

    own: Layout
    """Of the leaves."""
    full: Layout
    """Of the unknowns of all views, mirror images included."""
    prior: _Prior


def unknowns_of(skin: SkinRound, leaves: Leaves, swap: MirrorImage | None) -> Unknowns:
    """Of a problem over the leaves. swap: the mirror images' expressions where mirror images are views."""
    own, device = Layout.of(leaves), next(iter(leaves.values())).device
    full = own if swap is None else Layout.of(with_mirror(leaves, swap))
    spread = torch.eye(own.size) if swap is None else mirror_matrix(own, swap)
    spread = spread.double()
    mean, precision = full.pack(skin.means), full.pack(skin.precisions)
    prior = _Prior(mean, precision, spread, spread[_order(full, skin.plan)])
    return Unknowns(own, full, sent(prior, device))


def packed_problem(
    skin: SkinRound, unknowns: Unknowns, blocks: Blocks, fixed: Leaves
) -> PackedProblem:
    """The problem of a round, on the device of the unknowns.

    blocks: held landmarks, which read the leaves and those in `fixed`.
    """
    own, full, device = unknowns.own, unknowns.full, unknowns.prior.mean.device
    trees = sent((skin.constants, unknowns.prior, tuple(blocks), fixed), device)
    plan, shapes = skin.plan, hollow(trees)

    def linearize(x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        constants, prior, blocks, fixed = rebuilt(shapes, tensors)
        found = _linearized(plan, full, x, constants, prior)
        for block in blocks:
            parts = _landmarks(block, own, x, fixed)
            found = tuple(a + b for a, b in zip(found, parts, strict=True))
        return found[0], found[1], found[2]

    key = ("coefficients", plan, _shapes(own), _shapes(full), skeleton(blocks), tuple(fixed))
    return PackedProblem(linearize, tensors_of(trees), key)


def _linearized(
    plan: SkinPlan, full: Layout, x: Tensor, constants: SkinConstants, prior: _Prior
) -> tuple[Tensor, ...]:
    """Skin and priors over the packed leaves."""
    values = prior.spread @ x
    leaves = full.unpack(values)
    frames = len(constants.pose)
    skin = skin_equations(
        plan,
        constants,
        leaves.get("identity", x[:0]),
        leaves.get("expression", x[:0].expand(frames, 0)),
        leaves.get("pose", constants.pose),
        leaves.get("log_focal", constants.log_focal),
    )
    off = values - prior.mean
    pulled = prior.precision * off
    columns, spread = prior.columns, prior.spread
    return (
        skin.energy + 0.5 * pulled @ off,
        columns.T @ (skin.hessian @ columns) + spread.T @ (prior.precision[:, None] * spread),
        columns.T @ skin.gradient + spread.T @ pulled,
    )


def _landmarks(
    block: LandmarkBlock | WhitenedLandmarkBlock, own: Layout, x: Tensor, fixed: Leaves
) -> tuple[Tensor, ...]:
    """One view's landmarks over the packed leaves."""
    full = {**fixed, **own.unpack(x)}
    full["log_focal"] = full["log_focal"].reshape(-1, 1)
    residual, jacobians = block.linearize(*slot_values(block, full))
    A = residual.new_zeros(len(residual), own.size)
    for slot, jacobian in zip(block.slots, jacobians, strict=True):
        if slot[0] in own.shapes:
            A[:, own.columns(slot)] = jacobian
    return 0.5 * residual @ residual, A.T @ A, A.T @ residual


def _order(full: Layout, plan: SkinPlan) -> Tensor:
    """Place among the packed leaves of each unknown of `skin_equations`."""
    places = torch.arange(full.size)
    frames = range(max(plan.frame) + 1)
    slots: list[tuple[str, int | None]] = [("identity", None)]
    slots += [(name, f) for f in frames for name in ("expression", "pose")]
    slots += [("log_focal", None)]
    return torch.cat([places[full.columns(s)] for s in slots if s[0] in full.shapes])


def _shapes(layout: Layout) -> Hashable:
    return tuple(layout.shapes.items())
