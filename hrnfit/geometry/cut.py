# pyright: basic
# scipy.sparse and half of numpy's functions carry no types that strict mode accepts.
"""Surfaces cut open for a chart: into components, along a path, around a vertex."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra

Array = NDArray[Any]


class Cut(NamedTuple):
    """The same triangles over more vertices: those of a cut exist on both sides of it."""

    faces: Array
    """(F, 3), vertices from N on are copies."""
    source: Array
    """Vertex that each of the N + C vertices lies at."""


def components(faces: Array, n_vertices: int) -> list[Array]:
    """Triangles of each connected part, the part with most triangles first."""
    graph = _graph(faces, np.ones(3 * len(faces)), n_vertices)
    _, label = connected_components(graph, directed=False)
    of_face = label[faces[:, 0]]
    parts = [np.nonzero(of_face == k)[0] for k in np.unique(of_face)]
    return sorted(parts, key=len, reverse=True)


def midline_path(points: Array, faces: Array, start: int, ends: Array, width: float) -> Array:
    """Vertices of the shortest path along edges from `start` to the first of `ends`, kept near x = 0.

    `width`: distance from that plane at which an edge counts twice as long, in the unit of points.
    Raises ValueError when there is no path.
    """
    a, b = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    aside = 0.5 * np.abs(points[a, 0] + points[b, 0]) / width
    cost = np.linalg.norm(points[a] - points[b], axis=1) * (1.0 + aside**2)
    graph = _graph(faces, cost, len(points))
    reach, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    end = int(ends[np.argmin(reach[ends])])
    if not np.isfinite(reach[end]):
        raise ValueError("faces: the crown and the rim of the neck are not connected")
    path = [end]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    return np.array(path[::-1])


def cut_along(faces: Array, path: Array, n_vertices: int) -> Cut:
    """Open a surface along a path from its rim inwards; the last vertex stays one.

    Raises ValueError when the path leaves the surface's edges.
    """
    out, source = faces.copy(), list(range(n_vertices))
    on_path = {frozenset(pair) for pair in zip(path[:-1].tolist(), path[1:].tolist(), strict=True)}
    for here, ahead in zip(path[:-1].tolist(), path[1:].tolist(), strict=True):
        star = np.nonzero((faces == here).any(axis=1))[0]
        left = _one_side(faces[star], here, ahead, on_path)
        rows = star[left]
        out[rows] = np.where(faces[rows] == here, len(source), out[rows])
        source.append(here)
    return Cut(out, np.array(source))


def _one_side(star: Array, here: int, ahead: int, on_path: set[frozenset[int]]) -> Array:
    """Which triangles around a vertex lie left of the edge to the next one."""
    turned = np.stack([np.roll(t, -int(np.nonzero(t == here)[0][0])) for t in star])
    side = turned[:, 1] == ahead  # counter-clockwise: the edge's left triangle runs along it
    if not side.any():
        raise ValueError("path: two of its vertices share no edge")
    while True:
        spokes = set(turned[side][:, 1:].ravel().tolist())
        spokes = {v for v in spokes if frozenset((here, v)) not in on_path}
        grown = side | np.array([bool(spokes & set(t[1:].tolist())) for t in turned])
        if (grown == side).all():
            return side
        side = grown


def _graph(faces: Array, weights: Array, n_vertices: int) -> Any:
    """Edges of triangles, each once, with the weight of its first occurrence."""
    ends = np.sort(np.stack([faces.ravel(), faces[:, [1, 2, 0]].ravel()]), axis=0)
    _, first = np.unique(ends[0].astype(np.int64) * n_vertices + ends[1], return_index=True)
    a, b = ends[:, first]
    return sp.csr_matrix((weights[first], (a, b)), shape=(n_vertices, n_vertices))
