"""The focal length of an uncalibrated photograph, from the perspective of a face of known shape.

Near and wide against far and long is a flat valley: between 50 and 100 mm lenses the landmark energy
changes by a few per cent, and a descent over all unknowns stops anywhere in it. So the energy is
profiled: at every focal length of a grid the pose alone is fitted, and the lowest point interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.landmark import LandmarkBasis, LandmarkBlock
from hrnfit.fit.frame_pose import frame_pose
from hrnfit.fit.landmark_group import LandmarkGroup
from hrnfit.fit.landmark_views import LandmarkView
from hrnfit.solve.block import NormalEquations
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.solve.solver import Leaves

SOLVER = LevenbergMarquardt(max_steps=8, tolerance=1e-4)


def profile_focal(
    view: LandmarkView,
    block: LandmarkBlock,
    points: Float[Tensor, "L 3"],
    deviation: float,
    grid: Sequence[float],
) -> float:
    """Log focal factor of lowest energy for a face with these landmark positions (head frame, mm).

    `block` gives kernel, scale and weights; its scale stays, since depth over focal length hardly
    changes along the valley. `deviation` is that of the prior around 0.
    """
    empty = points.new_zeros(0, *points.shape)
    basis = LandmarkBasis(points, empty, empty)
    alone = replace(view, basis=basis, camera_known=False)
    energies = []
    for log_focal in grid:
        K = view.K.clone()
        K[:2, :2] *= torch.tensor(log_focal, dtype=K.dtype).exp()
        posed = replace(block, basis=basis, K=K, pose_reference=frame_pose([alone], log_focal))
        energies.append(_lowest_energy(posed) + 0.5 * (log_focal / deviation) ** 2)
    return lowest_point(grid, energies)


def _lowest_energy(block: LandmarkBlock) -> float:
    """Of a block without coefficients, over its pose."""
    group, none = LandmarkGroup.of([block]), block.K.new_zeros(0)
    focal = block.K.new_zeros(1)

    def equations(leaves: Leaves) -> NormalEquations:
        whole = group.equations(none, leaves["pose"], focal)
        return NormalEquations(whole.energy, whole.hessian[:6, :6], whole.gradient[:6])

    def energy(leaves: Leaves) -> Tensor:
        return group.energy(none, leaves["pose"], focal)

    solution = SOLVER.minimize_function(equations, energy, {"pose": block.K.new_zeros(6)})
    return solution.energies[-1]


def lowest_point(grid: Sequence[float], values: Sequence[float]) -> float:
    """Lowest point of the parabola through the lowest value and its neighbours; an end stays an end."""
    i = min(range(len(values)), key=values.__getitem__)
    if i in (0, len(values) - 1):
        return float(grid[i])
    a, b, c = (values[j] for j in (i - 1, i, i + 1))
    curvature = a - 2 * b + c
    offset = 0.0 if curvature <= 0 else 0.5 * (a - c) / curvature
    return float(grid[i] + offset * (grid[i + 1] - grid[i - 1]) / 2)
