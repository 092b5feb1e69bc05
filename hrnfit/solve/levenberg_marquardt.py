"""Levenberg-Marquardt on dense normal equations, with bounds; one Cholesky per step.

The damping follows the gain ratio (Nielsen 1999, "Damping parameter in Marquardt's method"). The
problem comes as blocks (`block.py`) or as two functions of the leaves, so dense photometric
residuals can accumulate A^T A in chunks (`forward_mode.py`) and never store A.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrnfit.solve.block import Block, Layout, NormalEquations, energy, normal_equations
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
        """The same for any problem that can linearize and evaluate itself."""
        start, layout = time.perf_counter(), Layout.of(leaves)
        lowest, highest = _packed_bounds(layout, layout.pack(leaves), bounds or {})
        x = layout.pack(leaves).detach().clamp(lowest, highest)
        outcome, energies, damping, growth, step_index = Outcome.MAX_STEPS, [], self.damping, 2.0, 0
        with torch.no_grad():
            equations = linearize(layout.unpack(x))
            energies.append(float(equations.energy))
            if not _is_finite(equations):
                outcome, step_index = Outcome.NON_FINITE, self.max_steps
            while step_index < self.max_steps:
                step = _damped_step(equations, x, lowest, highest, damping)
                predicted = -_model_change(equations, step)
                trial = float(energy(layout.unpack(x + step)))
                actual = energies[-1] - trial
                # below this neither number says anything: rounding of the energy itself
                noise = 4 * torch.finfo(x.dtype).eps * max(energies[-1], 1e-30)
                if abs(actual) <= noise and predicted <= max(noise, self.tolerance * energies[-1]):
                    outcome = Outcome.CONVERGED
                    break
                if math.isfinite(trial) and actual > 0 and predicted > 0:
                    x, gain = x + step, actual / predicted
                    energies.append(trial)
                    step_index += 1
                    damping = max(damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 1e-12)
                    growth = 2.0
                    if actual <= self.tolerance * energies[-2]:
                        outcome = Outcome.CONVERGED
                        break
                    equations = linearize(layout.unpack(x))
                    if not _is_finite(equations):
                        outcome = Outcome.NON_FINITE
                        break
                    continue
                damping, growth = damping * growth, growth * 2.0
                if damping > self.max_damping:
                    outcome = _end_without_step(equations, x, lowest, highest, predicted)
                    break
        return Solution(
            layout.unpack(x),
            outcome,
            step_index if outcome is not Outcome.NON_FINITE else len(energies) - 1,
            tuple(energies),
            seconds=time.perf_counter() - start,
        )


def _end_without_step(
    equations: NormalEquations, x: Tensor, lowest: Tensor, highest: Tensor, predicted: float
) -> Outcome:
    """Converged when the undamped model itself promises nothing, else stalled."""
    promise = -_model_change(equations, _damped_step(equations, x, lowest, highest, 1e-9))
    scale = max(float(equations.energy), 1e-30)
    converged = promise <= 1e-6 * scale and predicted <= 1e-6 * scale
    return Outcome.CONVERGED if converged else Outcome.STALLED


def _is_finite(equations: NormalEquations) -> bool:
    parts = (equations.energy, equations.gradient, equations.hessian)
    return all(bool(torch.isfinite(part).all()) for part in parts)


def _model_change(equations: NormalEquations, step: Tensor) -> float:
    """Change of the quadratic model along a step."""
    return float(equations.gradient @ step + 0.5 * step @ (equations.hessian @ step))


def _damped_step(
    equations: NormalEquations, x: Tensor, lowest: Tensor, highest: Tensor, damping: float
) -> Tensor:
    """Step of (H + damping diag H) d = -g, kept inside the bounds.

    Components that lie on a bound and would leave it are taken out of the system (active set); the
    others are clipped afterwards, which the gain ratio sees.
    """
    g, H = equations.gradient, equations.hessian
    held = ((x <= lowest) & (g > 0)) | ((x >= highest) & (g < 0))
    free = (~held).to(x.dtype)
    diagonal = H.diagonal().clamp_min(1e-12 * float(H.diagonal().max().clamp_min(1e-30)))
    system = H * free[:, None] * free + torch.diag(damping * diagonal * free + (1.0 - free))
    # rows scaled to a unit diagonal: radians, mm and standard deviations in one system
    scale = system.diagonal().clamp_min(1e-30).rsqrt()
    factor, info = torch.linalg.cholesky_ex(system * scale[:, None] * scale)
    if int(info) != 0:
        return torch.full_like(x, torch.nan)  # not positive definite: the caller damps more
    step = -scale * torch.cholesky_solve((scale * free * g)[:, None], factor).squeeze(-1)
    return (x + step).clamp(lowest, highest) - x


def _packed_bounds(layout: Layout, x: Tensor, bounds: Bounds) -> tuple[Tensor, Tensor]:
    unknown = set(bounds) - set(layout.shapes)
    if unknown:
        raise ValueError(f"bounds for {sorted(unknown)}, but free are {[*layout.shapes]}")
    infinite = (-math.inf, math.inf)
    limits = {name: bounds.get(name, infinite) for name in layout.shapes}
    lowest = {n: x.new_full(s, limits[n][0]) for n, s in layout.shapes.items()}
    highest = {n: x.new_full(s, limits[n][1]) for n, s in layout.shapes.items()}
    return layout.pack(lowest), layout.pack(highest)
