"""Which vertex is the mirror image of which, in the plane x = 0."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor


def mirror_pairs(vertices: Float[Tensor, "N 3"], tolerance: float = 0.5) -> Int[Tensor, "N"] | None:
    """Index of each vertex's mirror image; None unless every vertex has its own one.

    `tolerance`: largest distance from the mirrored position, mm.
    """
    points = vertices.detach().cpu().double().numpy()
    distance, index = KDTree(points).query(points * [-1.0, 1.0, 1.0])
    pairs = torch.from_numpy(index).to(torch.int32)
    if distance.max() > tolerance:
        return None
    identity = torch.arange(len(pairs), dtype=torch.int32)
    return pairs if bool((pairs[pairs.long()] == identity).all()) else None
