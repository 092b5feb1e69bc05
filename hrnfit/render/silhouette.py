"""Which edges join which triangles: what a silhouette search needs to know of a fixed topology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int


@dataclass(frozen=True)
class EdgeTopology:
    """Undirected edges of a triangle mesh. Edge k of a triangle lies opposite its corner k."""

    vertices: Int[np.ndarray, "E 2"]
    """End points, lower index first."""
    triangles: Int[np.ndarray, "E 2"]
    """Triangles on both sides; the second is -1 at a boundary or where more than two meet."""
    agree: Bool[np.ndarray, "E"]
    """Whether both triangles run through the edge in opposite directions, as on an oriented mesh."""
    triangle_edges: Int[np.ndarray, "F 3"]
    """Edge opposite each corner."""


def edge_topology(faces: Int[np.ndarray, "F 3"]) -> EdgeTopology:
    """Edges of the triangles, sorted by their end points; once per topology."""
    start = faces[:, [1, 2, 0]].astype(np.int64)  # (F, 3) edge k runs from corner k + 1 to k + 2
    end = faces[:, [2, 0, 1]].astype(np.int64)
    low, high = np.minimum(start, end).ravel(), np.maximum(start, end).ravel()
    key = low * (int(faces.max(initial=0)) + 1) + high
    _, first, edge, count = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    edge = edge.reshape(-1)
    halves = np.argsort(edge, kind="stable")  # half-edges of one edge side by side
    offset = np.cumsum(count) - count
    one = halves[offset]
    two = halves[np.minimum(offset + 1, len(halves) - 1)]
    manifold = count == 2
    forward = (start < end).ravel()
    return EdgeTopology(
        vertices=np.stack([low[first], high[first]], 1).astype(np.int32),
        triangles=np.stack([one // 3, np.where(manifold, two // 3, -1)], 1).astype(np.int32),
        agree=manifold & (forward[one] != forward[two]),
        triangle_edges=edge.reshape(-1, 3).astype(np.int32),
    )
