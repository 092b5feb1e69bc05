"""First-order steps that are themselves differentiable: every step stays in the graph, or the last few.

The leaves that come back are functions of the leaves that went in and of every tensor the energy
reads. Values that the energy holds (`derivative.held`) are constants of each step's slope, but the
chain of steps is differentiated through them. Nothing is searched, rolled back or stopped early: a
solve of K steps is K equal operations, so that its derivative exists. For fits without gradients
`first_order.py` is faster and safer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hrnfit.derivative import recorded, replayed
from hrnfit.solve.solver import Leaves

Energy = Callable[[Leaves], Tensor]
"""Total energy of the leaves, a scalar. It must compute anew at every call."""

Memory = dict[str, tuple[Tensor, ...]]
"""What a method keeps of earlier steps, per leaf."""


@dataclass(frozen=True)
class GradientSteps:
    """Gradient descent with momentum (Polyak 1964): linear in the slope, so well behaved to train through.

    x <- x - rate n v, v <- momentum v + dE/dx, with n the number of the leaf's values: an energy that is
    a mean over the map has slopes of 1/n, and a rate then means the same at any resolution.
    """

    rates: Mapping[str, float]
    """Per leaf, in its unit squared (mm^2): the step where a map's energy falls by 1 per unit."""
    steps: int = 10
    momentum: float = 0.0
    truncate: int | None = None
    """Derivatives flow through the last `truncate` steps only, 0: through none; None: through all."""

    def __post_init__(self) -> None:
        _check(self.steps, self.truncate, self.rates)
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum: expected 0 <= momentum < 1, got {self.momentum}")

    def minimize(self, energy: Energy, leaves: Leaves) -> Leaves:
        """Leaves after the steps."""
        check_rates(self.rates, leaves)
        return _unrolled(self, energy, leaves)

    def move(
        self, name: str, slope: Tensor, memory: tuple[Tensor, ...], step: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is subtracted from a leaf, and what is kept."""
        speed = self.momentum * memory[0] + slope if memory else slope
        return self.rates[name] * slope.numel() * speed, (speed,)


@dataclass(frozen=True)
class AdamSteps:
    """Adam (Kingma & Ba 2015) with sqrt(v + rounding^2) as its denominator, smooth at a slope of zero.

    Steps are of about the rate whatever the energy's scale, so a term's weight acts only against the
    others'. Where slopes are as small as `rounding` the derivative of a step is as large as its inverse.
    """

    rates: Mapping[str, float]
    """Step per leaf, in its unit (mm)."""
    steps: int = 10
    betas: tuple[float, float] = (0.9, 0.999)
    rounding: float = 1e-8
    """Slope below which a step shrinks."""
    truncate: int | None = None
    """As in `GradientSteps`."""

    def __post_init__(self) -> None:
        _check(self.steps, self.truncate, self.rates)
        if not self.rounding > 0.0:
            raise ValueError(f"rounding: expected a positive slope, got {self.rounding}")

    def minimize(self, energy: Energy, leaves: Leaves) -> Leaves:
        """Leaves after the steps."""
        check_rates(self.rates, leaves)
        return _unrolled(self, energy, leaves)

    def move(
        self, name: str, slope: Tensor, memory: tuple[Tensor, ...], step: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is subtracted from a leaf, and what is kept."""
        first, second = self.betas
        m, v = memory or (torch.zeros_like(slope), torch.zeros_like(slope))
        m = first * m + (1.0 - first) * slope
        v = second * v + (1.0 - second) * slope.square()
        mean, square = m / (1.0 - first ** (step + 1)), v / (1.0 - second ** (step + 1))
        return self.rates[name] * mean * torch.rsqrt(square + self.rounding**2), (m, v)


def slopes(energy: Energy, leaves: Leaves, tracked: bool) -> Leaves:
    """Derivative of the energy in every leaf; tracked: as a function that can be differentiated again."""
    values: list[Tensor] = []
    if tracked:
        with recorded() as values:
            energy(leaves)
    with torch.enable_grad():
        # aliases: the slope is taken in these, while what the energy holds hangs on the leaves themselves
        own = {
            name: leaf.view_as(leaf) if tracked and leaf.requires_grad else _fresh(leaf)
            for name, leaf in leaves.items()
        }
        if tracked:
            with replayed(values):
                value = energy(own)
        else:
            value = energy(own)
        if not value.requires_grad:
            raise ValueError(f"energy: none of its terms reads {', '.join(leaves)}")
        found = torch.autograd.grad(
            value, list(own.values()), create_graph=tracked, materialize_grads=True
        )
    return dict(zip(own, found, strict=True))


def check_rates(rates: Mapping[str, float], leaves: Leaves | tuple[str, ...]) -> None:
    """Every free leaf has a rate."""
    missing = sorted(set(leaves) - set(rates))
    if missing:
        raise ValueError(f"rates: none given for {', '.join(missing)}; give one per free leaf")


def _unrolled(method: GradientSteps | AdamSteps, energy: Energy, leaves: Leaves) -> Leaves:
    first = 0 if method.truncate is None else max(method.steps - method.truncate, 0)
    memory: Memory = dict.fromkeys(leaves, ())
    for step in range(method.steps):
        tracked = torch.is_grad_enabled() and step >= first
        if not tracked:
            leaves = {name: leaf.detach() for name, leaf in leaves.items()}
        moved: Leaves = {}
        for name, slope in slopes(energy, leaves, tracked).items():
            change, memory[name] = method.move(name, slope, memory[name], step)
            moved[name] = leaves[name] - change
        leaves = moved
    return leaves


def _fresh(leaf: Tensor) -> Tensor:
    return leaf.detach().requires_grad_()


def _check(steps: int, truncate: int | None, rates: Mapping[str, float]) -> None:
    if steps < 0:
        raise ValueError(f"steps: expected 0 or more, got {steps}")
    if truncate is not None and truncate < 0:
        raise ValueError(f"truncate: expected 0 or more steps, or None for all, got {truncate}")
    for name, rate in rates.items():
        if not rate > 0.0:
            raise ValueError(f"rates: expected a positive rate for {name!r}, got {rate}")
