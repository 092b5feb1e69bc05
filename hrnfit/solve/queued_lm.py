"""Levenberg-Marquardt whose decisions are tensors: a device runs it without its host.

The law of `levenberg_marquardt.py`, one trial at a time. A trial linearises where it lands, so an
iteration is one solve and one linearisation; a refused one keeps the equations it has, raises the
damping and has cost an iteration, which is one launch of a recording. A solve that has ended is frozen by
`torch.where`. The host reads one small vector after each iteration, to stop: 30 us, where an iteration queued
in vain costs 0.5 to 1.2 ms and a round takes 2 to 8.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.solve.block import NormalEquations
from hrnfit.solve.boxed_step import Box, boxed_step
from hrnfit.solve.recorded import recording, records, replayed
from hrnfit.solve.solver import Outcome

LAST_DAMPING = 1e-9
"""Damping at which the model is asked what it promises, when no damping lowered the energy."""
RUNNING = -1
ENDS = (Outcome.CONVERGED, Outcome.MAX_STEPS, Outcome.STALLED, Outcome.NON_FINITE)
CONVERGED, MAX_STEPS, STALLED, NON_FINITE = range(4)


@dataclass(frozen=True)
class PackedProblem:
    """A problem over one packed vector, as a function of tensors."""

    linearize: Callable[..., tuple[Tensor, Tensor, Tensor]]
    """Energy (), Hessian (n, n) and gradient (n) from the packed unknowns and the constants."""
    constants: tuple[Tensor, ...] = ()
    """What the function reads besides its unknowns and may differ from fit to fit."""
    key: Hashable = None
    """Names the function for `replayed`, with everything that it holds; None calls it plainly, when it
    cannot be recorded."""


class Law(NamedTuple):
    """Numbers of the solver."""

    max_steps: int
    damping: float
    max_damping: float
    tolerance: float


class _Search(NamedTuple):
    """Where a solve stands."""

    x: Float[Tensor, "n"]
    hessian: Float[Tensor, "n n"]
    gradient: Float[Tensor, "n"]
    energy: Float[Tensor, ""]
    damping: Float[Tensor, ""]
    growth: Float[Tensor, ""]
    """Factor on the damping after the next refusal."""
    steps: Int[Tensor, ""]
    outcome: Int[Tensor, ""]
    """`RUNNING`, or a place in `ENDS`."""
    energies: Float[Tensor, "s"]
    """Of the start and of every accepted step, NaN where there is none yet."""


_WHOLE = tuple(_Search._fields.index(name) for name in ("steps", "outcome"))
_PARTS = tuple(i for i in range(len(_Search._fields)) if i not in _WHOLE)
"""Places of the integers, and of the others."""


class QueuedSolution(NamedTuple):
    """Result over the packed vector."""

    x: Float[Tensor, "n"]
    outcome: Outcome
    energies: tuple[float, ...]
    seconds: float


def minimize_queued(
    problem: PackedProblem, x: Float[Tensor, "n"], box: Box, law: Law
) -> QueuedSolution:
    """Minimum of a problem on the device of its unknowns."""
    began = time.perf_counter()
    x = x.clamp(box.lowest, box.highest)
    # recordings keep their functions, and shall not keep the constants
    linearize = problem.linearize

    def start(x: Tensor, *constants: Tensor) -> tuple[Tensor, ...]:
        return tuple(_begun(linearize(x, *constants), x, law))

    with torch.no_grad():
        made = _called(problem, ("start", law), start, (x, *problem.constants))
        search, again = _trials(problem, law, (*made, *box, *problem.constants))
        report = _report(search).tolist() if law.max_steps == 0 else []
        for _ in range(13 * law.max_steps):  # 13 refusals exhaust any damping
            report = again().tolist()
            if report[0] != RUNNING:
                break
    code, steps, *energies = report
    outcome = Outcome.MAX_STEPS if code == RUNNING else ENDS[int(code)]
    seconds = time.perf_counter() - began
    return QueuedSolution(search.x.clone(), outcome, tuple(energies[: int(steps) + 1]), seconds)


def _trials(
    problem: PackedProblem, law: Law, inputs: tuple[Tensor, ...]
) -> tuple[_Search, Callable[[], Tensor]]:
    """The search, and a function that moves it by one trial in place and reports."""
    size, linearize = len(_Search._fields), problem.linearize

    def trial(*tensors: Tensor) -> tuple[Tensor, ...]:
        search, box = _Search(*tensors[:size]), Box(*tensors[size : size + 3])
        moved = _advanced(linearize, search, box, tensors[size + 3 :], law)
        for places in (_WHOLE, _PARTS):  # one launch each
            torch._foreach_copy_([search[i] for i in places], [moved[i] for i in places])  # pyright: ignore
        return (_report(moved),)

    if problem.key is None or not records(inputs[0].device):
        inputs = (*(part.clone() for part in inputs[:size]), *inputs[size:])
        return _Search(*inputs[:size]), lambda: trial(*inputs)[0]
    made = recording((problem.key, "trial", law), trial, inputs)
    made.load(inputs)
    return _Search(*made.inputs[:size]), lambda: made.again()[0]


def _called(
    problem: PackedProblem,
    part: Hashable,
    function: Callable[..., tuple[Tensor, ...]],
    inputs: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    if problem.key is None:
        return function(*inputs)
    return replayed((problem.key, part), function, inputs)


def _report(search: _Search) -> Tensor:
    head = torch.stack([search.outcome, search.steps]).to(search.energies)
    return torch.cat([head, search.energies])


def _begun(equations: tuple[Tensor, Tensor, Tensor], x: Tensor, law: Law) -> _Search:
    energy, hessian, gradient = equations
    ended = torch.where(_finite(*equations), RUNNING, NON_FINITE)
    if law.max_steps == 0:
        ended = torch.full_like(ended, MAX_STEPS)
    energies = torch.full((law.max_steps + 1,), torch.nan, dtype=x.dtype, device=x.device)
    energies[0] = energy
    damping = torch.full_like(energy, law.damping)
    steps = torch.zeros_like(ended)
    growth = torch.full_like(energy, 2.0)
    return _Search(x, hessian, gradient, energy, damping, growth, steps, ended, energies)


def _advanced(
    linearize: Callable[..., tuple[Tensor, Tensor, Tensor]],
    now: _Search,
    box: Box,
    constants: tuple[Tensor, ...],
    law: Law,
) -> _Search:
    """One trial."""
    running = now.outcome == RUNNING
    # no damping helped: one more step, unaccepted, says whether there was anything left to gain
    last = now.damping > law.max_damping
    damping = torch.where(last, LAST_DAMPING, now.damping)
    step, promised = _step(now, damping, box)
    size = now.energy.clamp_min(1e-30)
    # below this, energies say nothing: the rounding of their own sum
    idle = promised <= 4 * torch.finfo(now.x.dtype).eps * size
    x = now.x + step
    energy, hessian, gradient = linearize(x, *constants)
    fall = now.energy - energy
    better = running & ~last & ~idle & torch.isfinite(energy) & (fall > 0)
    steps = now.steps + better.to(now.steps.dtype)
    spent = torch.where(promised <= max(law.tolerance, 1e-6) * size, CONVERGED, STALLED)
    ended = torch.where(_finite(energy, hessian, gradient), RUNNING, NON_FINITE)
    ended = _after_a_step(ended, steps, fall <= law.tolerance * now.energy, law)
    ended = torch.where(better, ended, torch.where(idle, CONVERGED, RUNNING))
    ended = torch.where(last, spent, ended)
    relaxed = now.damping * (1 - (2 * fall / promised - 1) ** 3).clamp_min(1 / 3)
    damping = torch.where(better, relaxed.clamp_min(1e-12), now.damping * now.growth)
    places = torch.arange(len(now.energies), device=x.device)
    return _Search(
        torch.where(better, x, now.x),
        torch.where(better, hessian, now.hessian),
        torch.where(better, gradient, now.gradient),
        torch.where(better, energy, now.energy),
        torch.where(running, damping, now.damping),
        torch.where(better, 2.0, 2.0 * now.growth),
        steps,
        torch.where(running, ended, now.outcome),
        torch.where(better & (places == steps), energy, now.energies),
    )


def _step(now: _Search, damping: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """The damped step, and by how much the model's energy falls with it; infinity where that is not a number."""
    step = boxed_step(now.hessian, now.gradient, now.x, damping, box)
    change = now.gradient @ step + 0.5 * step @ (now.hessian @ step)
    return step, torch.where(torch.isfinite(change), -change, torch.inf)


def _after_a_step(ended: Tensor, steps: Tensor, little: Tensor, law: Law) -> Tensor:
    """How a search stands that took a step: at its end where the energy fell by little, or all steps are taken."""
    ended = torch.where(steps >= law.max_steps, MAX_STEPS, ended)
    return torch.where(little, CONVERGED, ended)


def _finite(energy: Tensor, hessian: Tensor, gradient: Tensor) -> Tensor:
    # a NaN or an infinity anywhere makes the sum so
    return torch.isfinite(energy + hessian.sum() * 0.0 + gradient.sum() * 0.0)


def packed(equations: NormalEquations) -> tuple[Tensor, Tensor, Tensor]:
    """Normal equations as the tensors that `PackedProblem.linearize` returns."""
    return equations.energy, equations.hessian, equations.gradient
