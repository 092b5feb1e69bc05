"""Which vertex is the mirror image of which, in the plane x = 0."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

MOST_DOUBTFUL = 500
"""Vertices without a clear image of their own up to which a matching is sought."""


def mirror_pairs(vertices: Float[Tensor, "N 3"], tolerance: float = 0.5) -> Int[Tensor, "N"] | None:
    """Index of each vertex's mirror image; None unless every vertex has its own one.

    `tolerance`: largest distance from the mirrored position, mm.
    """
    points = vertices.detach().cpu().double().numpy()
    distance, index = KDTree(points).query(points * [-1.0, 1.0, 1.0])
    if distance.max() > tolerance:
        return None
    pairs = _settled(points, np.asarray(index, dtype=np.int64))
    gap = np.linalg.norm(points[pairs] - points * [-1.0, 1.0, 1.0], axis=1)
    both_ways = bool((pairs[pairs] == np.arange(len(pairs))).all())
    return (
        torch.from_numpy(pairs.astype(np.int32)) if both_ways and gap.max() <= tolerance else None
    )


def _settled(points: NDArray[np.float64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest images, and where two vertices ask for the same one, the matching of least distance
    among those concerned."""
    doubtful = np.flatnonzero(index[index] != np.arange(len(index)))
    if not 0 < len(doubtful) <= MOST_DOUBTFUL:
        return index
    from scipy.optimize import linear_sum_assignment  # local: 0.1 s

    concerned = np.unique(np.concatenate([doubtful, index[doubtful], index[index[doubtful]]]))
    own = points[concerned]
    cost = np.linalg.norm(own[:, None] * [-1.0, 1.0, 1.0] - own[None], axis=2) ** 2
    settled = index.copy()
    settled[concerned] = concerned[linear_sum_assignment(cost + cost.T)[1]]
    return settled
