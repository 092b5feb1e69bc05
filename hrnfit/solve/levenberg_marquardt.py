"""Levenberg-Marquardt on dense normal equations, with bounds; one Cholesky per step.

The damping follows the gain ratio (Nielsen 1999, "Damping parameter in Marquardt's method"). The
problem comes as blocks (`block.py`) or as two functions of the leaves, so dense photometric
residuals can accumulate A^T A in chunks (`forward_mode.py`) and never store A. Leaves on a GPU are solved
for there (`queued_lm.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.kept import kept_for_good
from hrnfit.solve.block import Block, Layout, NormalEquations, energy, normal_equations
from hrnfit.solve.boxed_step import MAX_STOPS, Box
from hrnfit.solve.queued_lm import Law, PackedProblem, minimize_queued, packed
from hrnfit.solve.solver import Leaves, Outcome, Solution

Linearize = Callable[[Leaves], NormalEquations]
Energy = Callable[[Leaves], Tensor]
Bounds = Mapping[str, tuple[float, float]]
"""Lowest and highest value of a leaf's components, by leaf name."""


@dataclass(frozen=True)
class LevenbergMarquardt:
    """Settings of the solver."""

    max_steps: int = 50
    """Linearizations at most."""
    damping: float = 1e-3
    """First damping, relative to the diagonal of A^T A."""
    max_damping: float = 1e10
    """Damping at which the search gives up."""
    tolerance: float = 1e-7
    """Ends when a step lowers the energy by less than this fraction, as the model also predicts."""

    def minimize(
        self, blocks: Sequence[Block], leaves: Leaves, bounds: Bounds | None = None
    ) -> Solution:
        """Leaves at a minimum of the blocks' energy."""
        return self.minimize_function(
            lambda x: normal_equations(blocks, x), lambda x: energy(blocks, x), leaves, bounds
        )

    def minimize_function(
        self, linearize: Linearize, energy: Energy, leaves: Leaves, bounds: Bounds | None = None
    ) -> Solution:
        """The same for any problem that can linearize and evaluate itself.

        Leaves on a GPU: decided there, without `energy`, so that the host does not wait.
        """
        began, layout = time.perf_counter(), Layout.of(leaves)
        if next(iter(leaves.values())).device.type == "cuda":
            problem = PackedProblem(lambda x: packed(linearize(layout.unpack(x))))
            return self.minimize_packed(problem, leaves, bounds)
        lowest, highest = _packed_bounds(layout, layout.pack(leaves), bounds or {})
        x = layout.pack(leaves).detach().clamp(lowest, highest)
        damping, energies, outcome = self.damping, [], Outcome.MAX_STEPS
        with torch.no_grad():
            equations = linearize(layout.unpack(x))
            energies.append(float(equations.energy))
            for _ in range(self.max_steps):
                if not _is_finite(equations):
                    outcome = Outcome.NON_FINITE
                    break
                search = _Search(equations, x, lowest, highest, energies[-1], self.tolerance)
                found = search.step(lambda y: float(energy(layout.unpack(y))), damping, self)
                if isinstance(found, Outcome):
                    outcome = found
                    break
                x, value, damping = found
                energies.append(value)
                if energies[-2] - value <= self.tolerance * energies[-2]:
                    outcome = Outcome.CONVERGED
                    break
                equations = linearize(layout.unpack(x))
        steps, seconds = len(energies) - 1, time.perf_counter() - began
        return Solution(layout.unpack(x), outcome, steps, tuple(energies), seconds=seconds)

    def minimize_packed(
        self, problem: PackedProblem, leaves: Leaves, bounds: Bounds | None = None
    ) -> Solution:
        """The same with every decision taken by tensors, where the leaves are; on the CPU too."""
        layout = Layout.of(leaves)
        x = layout.pack(leaves).detach()
        shapes, limits = tuple(layout.shapes.items()), tuple((bounds or {}).items())
        lowest, highest = _limits(shapes, limits, x.dtype, x.device).unbind()
        box = Box(lowest, highest, _bounded(shapes, limits, x.device))
        law = Law(self.max_steps, self.damping, self.max_damping, self.tolerance)
        found = minimize_queued(problem, x, box, law)
        steps = len(found.energies) - 1
        leaves = layout.unpack(found.x)
        return Solution(leaves, found.outcome, steps, found.energies, seconds=found.seconds)


@dataclass(frozen=True)
class _Search:
    """One linearization, and the damping that makes a step of it lower the energy."""

    equations: NormalEquations
    x: Tensor
    lowest: Tensor
    highest: Tensor
    now: float
    tolerance: float

    def step(
        self, energy: Callable[[Tensor], float], damping: float, settings: LevenbergMarquardt
    ) -> tuple[Tensor, float, float] | Outcome:
        """New point, its energy and the next damping; or how the solve ends here."""
        growth = 2.0
        # below this, energies say nothing: the rounding of their own sum
        noise = 4 * torch.finfo(self.x.dtype).eps * max(self.now, 1e-30)
        while damping <= settings.max_damping:
            step = self._damped(damping)
            predicted = -self._model_change(step)
            if predicted <= noise:
                return Outcome.CONVERGED
            value = energy(self.x + step)
            fall = self.now - value
            if math.isfinite(value) and fall > 0:
                gain = fall / predicted
                relaxed = damping * max(1 / 3, 1 - (2 * gain - 1) ** 3)
                return self.x + step, value, max(relaxed, 1e-12)
            damping, growth = damping * growth, growth * 2.0
        promised = -self._model_change(self._damped(1e-9))
        small = promised <= max(self.tolerance, 1e-6) * max(self.now, 1e-30)
        return Outcome.CONVERGED if small else Outcome.STALLED

    def _model_change(self, step: Tensor) -> float:
        """Change of the quadratic model along a step; NaN steps promise infinitely much."""
        H, g = self.equations.hessian, self.equations.gradient
        change = float(g @ step + 0.5 * step @ (H @ step))
        return change if math.isfinite(change) else -math.inf

    def _damped(self, damping: float) -> Tensor:
        """Step of (H + damping diag H) d = -g, kept inside the bounds.

        Components that lie on a bound and would leave it stay (active set); those that the step would
        carry across one stop there, and the others are solved for again: clipped alone, they would
        spoil the step where unknowns are strongly coupled.
        """
        x, g, H = self.x, self.equations.gradient, self.equations.hessian
        diagonal = H.diagonal().clamp_min(1e-12 * float(H.diagonal().max().clamp_min(1e-30)))
        damped = H + torch.diag(damping * diagonal)
        held = ((x <= self.lowest) & (g > 0)) | ((x >= self.highest) & (g < 0))
        step = torch.zeros_like(x)
        for _ in range(MAX_STOPS):
            step = _solve_free(damped, g, step, ~held)
            beyond = ~held & ((x + step < self.lowest) | (x + step > self.highest))
            if not bool(beyond.any()):
                break
            step = torch.where(beyond, (x + step).clamp(self.lowest, self.highest) - x, step)
            held = held | beyond
        return (x + step).clamp(self.lowest, self.highest) - x


def _solve_free(H: Tensor, g: Tensor, step: Tensor, free: Tensor) -> Tensor:
    """Minimum of the quadratic model over the free components; the others keep their step. NaN where H
    is not positive definite."""
    mask = free.to(H.dtype)
    fixed = step * (1.0 - mask)
    right = mask * (g + H @ fixed)
    system = H * mask[:, None] * mask + torch.diag(1.0 - mask)
    # rows scaled to a unit diagonal: radians, mm and standard deviations in one system
    scale = system.diagonal().clamp_min(1e-30).rsqrt()
    factor, info = torch.linalg.cholesky_ex(system * scale[:, None] * scale)
    if int(info) != 0:
        return torch.full_like(g, torch.nan)  # more damping follows
    return fixed - scale * torch.cholesky_solve((scale * right)[:, None], factor).squeeze(-1)


def _is_finite(equations: NormalEquations) -> bool:
    parts = (equations.energy, equations.gradient, equations.hessian)
    return all(bool(torch.isfinite(part).all()) for part in parts)


Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Limits = tuple[tuple[str, tuple[float, float]], ...]


@kept_for_good
def _limits(
    shapes: Shapes, limits: Limits, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "2 n"]:
    """Lowest and highest values of packed leaves, on a device: they are the same in every solve of a kind."""
    leaves = {n: torch.zeros(s, dtype=dtype) for n, s in shapes}
    layout = Layout.of(leaves)
    return torch.stack(_packed_bounds(layout, layout.pack(leaves), dict(limits))).to(device)


@kept_for_good
def _bounded(shapes: Shapes, limits: Limits, device: torch.device) -> Int[Tensor, "b"]:
    """Places of the bounded ones among them."""
    layout = Layout.of({n: torch.zeros(s) for n, s in shapes})
    places = torch.arange(layout.size)
    found = [places[layout.columns((name, None))] for name, _ in limits]
    return torch.cat([places[:0], *found]).to(device)


def _packed_bounds(layout: Layout, x: Tensor, bounds: Bounds) -> tuple[Tensor, Tensor]:
    unknown = set(bounds) - set(layout.shapes)
    if unknown:
        raise ValueError(f"bounds for {sorted(unknown)}, but free are {[*layout.shapes]}")
    infinite = (-math.inf, math.inf)
    limits = {name: bounds.get(name, infinite) for name in layout.shapes}
    lowest = {n: x.new_full(s, limits[n][0]) for n, s in layout.shapes.items()}
    highest = {n: x.new_full(s, limits[n][1]) for n, s in layout.shapes.items()}
    return layout.pack(lowest), layout.pack(highest)
