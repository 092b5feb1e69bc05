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
from hrnfit.fit.landmark_views import LandmarkView
from hrnfit.fit.rigid_poses import RigidPoses, lowest_energies
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt

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
    factors = torch.tensor(grid, dtype=view.K.dtype)
    K = view.K.repeat(len(grid), 1, 1)
    K[:, :2, :2] *= factors.exp()[:, None, None]
    reference = torch.stack([frame_pose([alone], log_focal) for log_focal in grid])
    found = lowest_energies(RigidPoses(replace(block, basis=basis), K, reference), SOLVER)
    energies = (found + 0.5 * (factors / deviation) ** 2).tolist()
    return lowest_point(grid, energies)


def lowest_point(grid: Sequence[float], values: Sequence[float]) -> float:
    """Lowest point of the parabola through the lowest value and its neighbours; an end stays an end."""
    i = min(range(len(values)), key=values.__getitem__)
    if i in (0, len(values) - 1):
        return float(grid[i])
    a, b, c = (values[j] for j in (i - 1, i, i + 1))
    curvature = a - 2 * b + c
    offset = 0.0 if curvature <= 0 else 0.5 * (a - c) / curvature
    return float(grid[i] + offset * (grid[i + 1] - grid[i - 1]) / 2)
