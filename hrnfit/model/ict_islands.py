"""Islands of a file's own texture coordinates, laid into places of another chart.

A group is a set of triangles whose islands lie beside each other in the file without overlap. The chart of
the published teeth shows one side of the mouth as the mirror image of the other: what turns the other
way becomes a group of its own, mirrored as a whole.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components
from torch import Tensor

Group = Int[np.ndarray, "_"]
"""Indices of triangles."""

FOLD = 0.05
"""Share of an island's triangles that turn against the others, from which they are a fold and lie
elsewhere; fewer are slivers of no area."""


class Islands(NamedTuple):
    """The file's chart, by triangle."""

    uv: Float[np.ndarray, "Nuv 2"]
    """v down; in tiles of side 1."""
    uv_faces: Int[np.ndarray, "F 3"]


class Place(NamedTuple):
    """A parallelogram of the chart that takes the bounding box of a group."""

    corner: Float[np.ndarray, "2"]
    axes: Float[np.ndarray, "2 2"]
    """Rows: the way of the box's u, and of its v."""


class Laid(NamedTuple):
    """Triangles with places of their own in the chart."""

    mine: Group
    spots: Float[np.ndarray, "P 2"]
    """UV."""
    triangles: Int[np.ndarray, "G 3"]
    """Of the spots, one per triangle of the group."""


def box(left: float, top: float, right: float, bottom: float) -> Place:
    """An upright place, v down."""
    return Place(np.array([left, top]), np.diag([right - left, bottom - top]))


def cells(place: Place, count: int) -> list[Place]:
    """`count` equal parts of a place, each with a free border."""
    across = max(1, math.ceil(math.sqrt(count)))
    axes, free = place.axes / across, 0.04 if across > 1 else 0.0
    found: list[Place] = []
    for k in range(count):
        at = np.array([k % across + free, k // across + free])
        found.append(Place(place.corner + at @ axes, (1.0 - 2.0 * free) * axes))
    return found


def connected(triangles: Int[np.ndarray, "F 3"]) -> Int[np.ndarray, "F"]:
    """Number of the connected component of each triangle, joined at vertices."""
    distinct, flat = np.unique(triangles, return_inverse=True)
    corner = flat.reshape(-1, 3)
    ends = np.concatenate([corner[:, [0, 1]], corner[:, [1, 2]]])
    graph = sp.coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (len(distinct),) * 2)
    return connected_components(graph, directed=False)[1][corner[:, 0]]


def by_sense(mine: Group, islands: Islands) -> list[Group]:
    """The triangles in groups of one sense: islands that turn one way, those that turn the other, and
    folds of either."""
    triangles = islands.uv_faces[mine]
    area = signed_areas(islands.uv, triangles)
    kind = np.zeros(len(mine), dtype=int)
    island = connected(triangles)
    for k in np.unique(island):
        own = np.flatnonzero(island == k)
        sense = 1.0 if area[own].sum() > 0 else -1.0
        against = own[area[own] * sense < 0]
        kind[own] = 0 if sense > 0 else 1
        if len(against) > FOLD * len(own):
            kind[against] = 2 if sense > 0 else 3
    return [mine[kind == k] for k in np.unique(kind)]


def in_place(mine: Group, place: Place, islands: Islands) -> Laid:
    """A group in its place, turning as skin does: clockwise on the page, v being down."""
    distinct, corner = np.unique(islands.uv_faces[mine], return_inverse=True)
    triangles = corner.reshape(-1, 3)
    spots = islands.uv[distinct].astype(np.float64)
    spots = (spots - spots.min(axis=0)) / np.maximum(np.ptp(spots, axis=0), 1e-9)
    if signed_areas(spots @ place.axes, triangles).sum() > 0:
        spots[:, 0] = 1.0 - spots[:, 0]
    return Laid(mine, place.corner + spots @ place.axes, triangles)


def laid_out(
    uv: Float[Tensor, "N 2"], faces: Int[Tensor, "F 3"], parts: list[Laid]
) -> tuple[Float[Tensor, "Nuv 2"], Int[Tensor, "F 3"]]:
    """A chart with one place per vertex, in which some triangles lie in places of their own instead;
    without coordinates that nothing uses."""
    chart, corners = [uv.double().numpy()], faces.numpy().astype(np.int64)
    first = len(uv)
    for part in parts:
        chart.append(part.spots)
        corners[part.mine] = part.triangles + first
        first += len(part.spots)
    used, corner = np.unique(corners, return_inverse=True)
    placed = torch.from_numpy(np.concatenate(chart)[used]).to(uv)
    return placed, torch.from_numpy(corner.reshape(-1, 3)).to(faces)


def signed_areas(
    uv: Float[np.ndarray, "P 2"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "F"]:
    """Twice the area of each triangle, negative where it turns the other way."""
    e1, e2 = uv[faces[:, 1]] - uv[faces[:, 0]], uv[faces[:, 2]] - uv[faces[:, 0]]
    return e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
