"""Adam with a rate per leaf, and L-BFGS, for maps with many unknowns. Both run in `loop.Loop`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from hrnfit.check import check_one_of
from hrnfit.solve.loop import Energy, Evaluated, Loop, Progress, Stepper
from hrnfit.solve.recorded import records
from hrnfit.solve.recorded_adam import NamedEnergy, RateTable, RecordedAdam
from hrnfit.solve.solver import Leaves, Solution

Schedule = Literal["constant", "cosine", "exponential"]


def schedule_factor(schedule: Schedule, fraction: float, last: float) -> float:
    """Factor on the rate, from 1 at the start to `last` at the end of the solve."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * fraction))
    return last**fraction


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015): steps of about the rate, in each leaf's own unit."""

    rates: Mapping[str, float]
    """Step of each leaf, in its unit (mm, rad, standard deviations)."""
    schedule: Schedule = "cosine"
    """`constant`, `cosine` or `exponential`."""
    last: float = 0.1
    """Factor on the rates at the end of the schedule."""
    betas: tuple[float, float] = (0.9, 0.999)
    loop: Loop = field(default_factory=Loop)

    def minimize(
        self, energy: Energy, leaves: Leaves, progress: Progress | None = None
    ) -> Solution:
        """Leaves of lowest energy. Raises ValueError for a free leaf without a rate."""
        check_one_of("schedule", self.schedule, get_args(Schedule))
        missing = sorted(set(leaves) - set(self.rates))
        if missing:
            raise ValueError(f"rates: none given for {', '.join(missing)}; give one per free leaf")
        device = next(iter(leaves.values())).device
        if isinstance(energy, NamedEnergy) and records(device):
            stepper: Stepper = RecordedAdam(self._schedule_of(leaves), energy)
        else:
            stepper = _AdamStepper(self)
        return self.loop.run(stepper, energy, leaves, progress)

    def _schedule_of(self, leaves: Leaves) -> RateTable:
        """Rates of the leaves at every step of the loop."""
        fractions = [step / self.loop.steps for step in range(self.loop.steps)]
        factors = [schedule_factor(self.schedule, x, self.last) for x in fractions]
        return RateTable(tuple(self.rates[name] for name in leaves), tuple(factors), self.betas)


class _AdamStepper:
    """Moves leaves by torch's Adam; one parameter group per leaf."""

    def __init__(self, settings: Adam) -> None:
        self.settings = settings

    def begin(self, leaves: Leaves, shrink: float) -> Leaves:
        rates = self.settings.rates
        groups = [{"params": [leaf], "lr": rates[name] * shrink} for name, leaf in leaves.items()]
        self.leaves = leaves
        self.first = [rates[name] * shrink for name in leaves]
        self.optimizer = torch.optim.Adam(groups, betas=self.settings.betas)
        return leaves

    def advance(self, energy: Energy, fraction: float) -> Evaluated:
        factor = schedule_factor(self.settings.schedule, fraction, self.settings.last)
        for group, rate in zip(self.optimizer.param_groups, self.first, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        total, terms = energy(self.leaves)
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return total.detach(), terms

    def look(self, energy: Energy) -> Tensor:
        with torch.no_grad():
            return energy(self.leaves)[0]


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS with a strong-Wolfe line search (Nocedal & Wright 2006, alg. 7.5)."""

    scales: Mapping[str, float] = field(default_factory=dict)
    """Typical step of each leaf in its unit: the search runs in leaf / scale. 1 when not given."""
    history: int = 10
    inner: int = 10
    """Quasi-Newton steps per loop step; between them the energy is not looked at."""
    loop: Loop = field(default_factory=lambda: Loop(steps=20, record_every=1, tolerance=1e-7))

    def minimize(
        self, energy: Energy, leaves: Leaves, progress: Progress | None = None
    ) -> Solution:
        """Leaves of lowest energy."""
        unknown = sorted(set(self.scales) - set(leaves))
        if unknown:
            raise ValueError(f"scales for {', '.join(unknown)}, but free are {', '.join(leaves)}")
        return self.loop.run(_LBFGSStepper(self), energy, leaves, progress)


class _LBFGSStepper:
    """Moves the leaves through scaled copies, which are what torch's L-BFGS sees."""

    def __init__(self, settings: LBFGS) -> None:
        self.settings = settings

    def begin(self, leaves: Leaves, shrink: float) -> Leaves:
        self.leaves = leaves
        self.scales = {name: self.settings.scales.get(name, 1.0) * shrink for name in leaves}
        self.scaled = {
            name: (leaf.detach() / self.scales[name]).requires_grad_()
            for name, leaf in leaves.items()
        }
        self.optimizer = torch.optim.LBFGS(
            list(self.scaled.values()),
            max_iter=self.settings.inner,
            history_size=self.settings.history,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )
        return leaves

    def advance(self, energy: Energy, fraction: float) -> Evaluated:
        first: list[Evaluated] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            total, terms = energy({n: x * self.scales[n] for n, x in self.scaled.items()})
            total.backward()  # type: ignore[no-untyped-call]
            for x in self.scaled.values():  # torch's L-BFGS takes views of them
                x.grad = None if x.grad is None else x.grad.contiguous()
            if not first:
                first.append((total.detach(), terms))
            return total

        self.optimizer.step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(self.scaled[name] * self.scales[name])
        return first[0]

    def look(self, energy: Energy) -> Tensor:
        with torch.no_grad():
            return energy(self.leaves)[0]
