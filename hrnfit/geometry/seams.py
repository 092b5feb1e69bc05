# pyright: basic
# scipy.sparse carries no types that strict mode accepts.
"""Tears a mesh open along edges, so that a surface with too small a rim has a chart.

A head ends at its neck: laid on the rim of a square by that loop alone, its face would shrink to a
spot. A seam from the back of the neck over the back of the head to the crown makes it a disk with a
long rim. Vertices on a seam appear twice in the chart and once in the mesh.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import Tensor

from hrnfit.geometry.uv import boundary_loops, disk_chart

Array = NDArray[Any]

ROUND = 3.5
"""Area over that of a flat disk of the same rim, from which a surface is cut: half a sphere has 2, a
face mask with ears about the same, a head that ends at the neck 8. There the cut raises the face's
share of the chart from 0.08 to 0.12 and halves its worst anisotropy (12 to 4.6, 95 % of triangles)."""


class Torn(NamedTuple):
    """A mesh whose vertices are parted where no edge holds the triangles around them together."""

    faces: Int[Tensor, "F 3"]
    """Triangles of the parted vertices; the first copy of a vertex keeps its number."""
    origin: Int[Tensor, "M"]
    """The vertex that each is a copy of."""


def tear(faces: Int[Tensor, "F 3"], n_vertices: int, seam: Int[Tensor, "K"] | None = None) -> Torn:
    """The mesh torn along the edges between successive vertices of a seam.

    Without a seam only vertices are parted at which two surfaces, or two ends of one, merely touch.
    """
    triangles = faces.detach().cpu().numpy().astype(np.int64)
    start, stop = triangles, triangles[:, [1, 2, 0]]
    key, twin = (start * n_vertices + stop).ravel(), (stop * n_vertices + start).ravel()
    order = np.argsort(key)
    found = np.minimum(np.searchsorted(key, twin, sorter=order), len(key) - 1)
    other = order[found]
    whole = key[other] == twin
    if seam is not None:
        path = seam.detach().cpu().numpy().astype(np.int64)
        ways = [path[:-1] * n_vertices + path[1:], path[1:] * n_vertices + path[:-1]]
        whole &= ~np.isin(key, np.concatenate(ways))
    here = np.flatnonzero(whole)
    there = other[here]
    # the edge from a corner to the next is in its twin the edge from the next to that corner
    links = np.concatenate([np.stack([here, _next(there)]), np.stack([_next(here), there])], axis=1)
    graph = sp.coo_matrix((np.ones(links.shape[1]), links), shape=(len(key), len(key)))
    _, part = connected_components(graph, directed=False)
    return _numbered(triangles, np.asarray(part), n_vertices, faces)


def component_of(faces: Int[Tensor, "F 3"], n_vertices: int, vertex: int) -> Int[Tensor, "G"]:
    """Indices of the triangles that hang together with a vertex."""
    triangles = faces.detach().cpu().numpy()
    pairs = (triangles.ravel(), triangles[:, [1, 2, 0]].ravel())
    graph = sp.coo_matrix((np.ones(len(pairs[0])), pairs), shape=(n_vertices, n_vertices))
    _, part = connected_components(graph, directed=False)
    label = np.asarray(part)
    return torch.from_numpy(np.flatnonzero(label[triangles[:, 0]] == label[vertex]))


def open_chart(
    points: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    density: Float[Tensor, "N"] | None = None,
) -> tuple[Float[Tensor, "Nuv 2"], Int[Tensor, "F 3"]]:
    """A chart of one surface: `disk_chart`, after a cut up the back where the rim is too short.

    `density`: wished texels per mm, relative. Texture coordinates and their triangles; without a cut
    these are `faces`. Raises ValueError when the surface has handles or parts.
    """
    seam = back_seam(points, faces)
    if seam is None:
        return disk_chart(points, faces, density), faces
    torn = tear(faces, len(points), seam)
    wish = None if density is None else density[torn.origin]
    loops = boundary_loops(faces, len(points))
    ends = (int(seam[-1]), int(seam[0]) if not loops else _front(points, loops[0]))
    return disk_chart(points[torn.origin], torn.faces, wish, ends=ends), torn.faces


def back_seam(points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Int[Tensor, "K"] | None:
    """Vertices of a seam up the back to the crown; None where the rim is long enough for a chart."""
    place = points.detach().cpu().double().numpy()
    triangles = faces.detach().cpu().numpy().astype(np.int64)
    loops = [loop.numpy() for loop in boundary_loops(faces, len(points))]
    rims = [np.linalg.norm(place[a] - place[np.roll(a, -1)], axis=1).sum() for a in loops]
    corners = place[triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * np.linalg.norm(cross, axis=1).sum()
    if rims and 4.0 * np.pi * area < ROUND * max(rims) ** 2:
        return None
    off = 3.0 * np.abs(place[:, 0] - np.median(place[:, 0]))
    crown = int(np.argmax(place[:, 1] - off))
    if rims:
        rim = loops[int(np.argmax(rims))]
        first = int(rim[np.argmin(place[rim, 2] + off[rim])])
    else:
        first = int(np.argmin(place[:, 1] + off))
    return torch.from_numpy(_way(place, triangles, first, crown, np.concatenate([*loops, [first]])))


def _way(place: Array, triangles: Array, first: int, last: int, rim: Array) -> Array:
    """The shortest way along edges that stays close to the plane of symmetry, off the face and off
    the rim but for its start."""
    tail = triangles.ravel()
    head = triangles[:, [1, 2, 0]].ravel()
    barred = np.zeros(len(place), dtype=bool)
    barred[rim.astype(np.int64)] = True
    barred[[first, last]] = False
    free = ~(barred[tail] | barred[head])
    tail, head = tail[free], head[free]
    middle = 0.5 * (place[tail] + place[head])
    spread = np.maximum(np.ptp(place, axis=0), 1e-9)
    aside = np.abs(middle[:, 0] - np.median(place[:, 0])) / spread[0]
    ahead = np.maximum(middle[:, 2] - 0.5 * (place[:, 2].min() + place[:, 2].max()), 0) / spread[2]
    cost = np.linalg.norm(place[tail] - place[head], axis=1) * (1 + 30 * aside + 30 * ahead) + 1e-9
    graph = sp.coo_matrix((cost, (tail, head)), shape=(len(place), len(place))).tocsr()
    _, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
    way = [last]
    while way[-1] != first:
        way.append(int(before[way[-1]]))
        if way[-1] < 0:
            raise ValueError(
                "faces: no way along edges from the neck to the crown; not one surface"
            )
    return np.array(way[::-1])


def _front(points: Float[Tensor, "N 3"], loop: Int[Tensor, "K"]) -> int:
    """The foremost vertex of the neck's loop close to the plane of symmetry."""
    place = points.detach().cpu()[loop]
    off = 3.0 * (place[:, 0] - place[:, 0].median()).abs()
    return int(loop[int((place[:, 2] - off).argmax())])


def _next(corner: Array) -> Array:
    """The following corner of the same triangle."""
    return corner - corner % 3 + (corner + 1) % 3


def _numbered(triangles: Array, part: Array, n_vertices: int, like: Tensor) -> Torn:
    """Vertex numbers for groups of corners."""
    groups, corner = np.unique(part, return_index=True)
    vertex = triangles.ravel()[corner]
    order = np.lexsort((groups, vertex))
    repeated = np.zeros(len(groups), dtype=bool)
    repeated[order[1:]] = vertex[order[1:]] == vertex[order[:-1]]
    number = vertex.copy()
    number[repeated] = n_vertices + np.arange(repeated.sum())
    origin = np.concatenate([np.arange(n_vertices), vertex[repeated]])
    torn = number[np.searchsorted(groups, part)].reshape(-1, 3)
    return Torn(torch.from_numpy(torn).to(like), torch.from_numpy(origin).to(like.device))
