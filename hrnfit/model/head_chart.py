"""A chart for a whole head with separate eyeballs: the skin cut open from the neck up to the crown.

The cut runs where no camera looks. The skin then is a disk with the face in its middle; each eyeball is
opened at its back and lies in a lower corner, the subject's left one on the right.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hrnfit.geometry.cut import components, cut_along, midline_path
from hrnfit.geometry.uv import boundary_loops, disk_chart

SKIN, CORNER = 0.94, 0.115
"""Sides of the squares of the skin's and the first two islands' charts: the disk leaves the corners."""

STRIP = 0.05
"""Side of further islands, which lie between the first two."""

MIDLINE = 5.0
"""Distance from the plane x = 0 at which the cut costs twice, mm."""

FACE, BACK, REACH = 1.0, 0.25, 100.0
"""Wished texels per mm on the face and far from it, and how far from the nose tip the face reaches, mm."""


class HeadChart(NamedTuple):
    """Texture coordinates of their own and what the mesh consists of."""

    uv: Float[Tensor, "Nuv 2"]
    """Origin top-left, v down."""
    uv_faces: Int[Tensor, "F 3"]
    islands: Bool[Tensor, "N"]
    """Vertices that are not skin: the eyeballs."""


def head_chart(
    points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], nose_tip: Float[Tensor, "3"]
) -> HeadChart:
    """Chart of a head in mm, y up and z out of the face.

    Raises ValueError when the skin has no rim at the neck, or a part no chart.
    """
    vertices, triangles = points.double().cpu().numpy(), faces.long().cpu().numpy()
    parts = components(triangles, len(vertices))
    uv, uv_faces = [np.zeros((0, 2))], np.zeros_like(triangles)
    islands = np.zeros(len(vertices), dtype=bool)
    rest = sorted(parts[1:], key=lambda part: vertices[triangles[part], 0].mean())
    places = _places(len(rest))
    for rank, part in enumerate([parts[0], *rest]):
        own, local = np.unique(triangles[part], return_inverse=True)
        local = local.reshape(-1, 3)
        if rank == 0:
            flat, corners = _skin(vertices[own], local, nose_tip.double().cpu().numpy())
            flat = np.stack([0.5 + SKIN * (flat[:, 0] - 0.5), SKIN * flat[:, 1]], axis=1)
        else:
            islands[own] = True
            side, corner = places[rank - 1]
            flat, corners = _island(vertices[own], local)
            flat = corner + side * flat
        uv_faces[part] = corners + sum(map(len, uv))
        uv.append(flat)
    return HeadChart(
        torch.from_numpy(np.concatenate(uv)).to(points),
        torch.from_numpy(uv_faces.astype(np.int32)).to(faces.device),
        torch.from_numpy(islands).to(faces.device),
    )


Array = NDArray[Any]


def _skin(points: Array, faces: Array, nose_tip: Array) -> tuple[Array, Array]:
    """The skin's chart on the unit square."""
    loops = [loop.numpy() for loop in boundary_loops(torch.from_numpy(faces), len(points))]
    if not loops:
        raise ValueError("faces: the head is closed; a chart needs a rim at the neck to start from")
    lengths = [np.linalg.norm(points[r] - points[np.roll(r, 1)], axis=1).sum() for r in loops]
    rim = loops[int(np.argmax(lengths))]
    middle = np.abs(points[:, 0] - np.median(points[rim, 0]))
    crown = int(np.argmax(points[:, 1] - 3.0 * middle))
    back = rim[np.argmin(points[rim, 2] + 3.0 * middle[rim])]
    path = midline_path(points, faces, crown, np.array([back]), MIDLINE)
    first = int(np.isin(path, rim).argmax())  # stop where the rim is met, not where it was aimed at
    opened = cut_along(faces, path[: first + 1][::-1], len(points))
    surface = points[opened.source]
    distance = np.linalg.norm(surface - nose_tip, axis=1)
    density = BACK + (FACE - BACK) * np.exp(-((distance / REACH) ** 4))
    return _disk(surface, opened.faces, density), opened.faces


def _island(points: Array, faces: Array) -> tuple[Array, Array]:
    """Chart of an eyeball on the unit square, its front in the middle: opened around its hindmost vertex,
    whose triangles stand around the disk as narrow teeth."""
    if boundary_loops(torch.from_numpy(faces), len(points)):
        return _disk(points, faces, np.ones(len(points))), faces
    back = int(points[:, 2].argmin())
    teeth = (faces == back).any(axis=1)
    own, local = np.unique(faces[~teeth], return_inverse=True)
    inner = _disk(points[own], local.reshape(-1, 3), np.ones(len(own)))
    flat = np.full((len(points), 2), 0.5)
    flat[own] = 0.5 + 0.9 * (inner - 0.5)
    corners, tips = faces.copy(), []
    for row in np.nonzero(teeth)[0]:
        base = flat[faces[row][faces[row] != back]].mean(axis=0)
        corners[row][faces[row] == back] = len(flat) + len(tips)
        tips.append(0.5 + 1.05 * (base - 0.5))
    return np.concatenate([flat, np.array(tips)]), corners


def _disk(points: Array, faces: Array, density: Array) -> Array:
    """`disk_chart` of arrays; it tells left from right by the sign of x."""
    centred = points - [0.5 * (points[:, 0].min() + points[:, 0].max()), 0.0, 0.0]
    chart = disk_chart(
        torch.from_numpy(centred), torch.from_numpy(faces), torch.from_numpy(density)
    )
    return chart.numpy()


def _places(count: int) -> list[tuple[float, Array]]:
    """Side and upper left corner of each island's square, from left to right."""
    if count == 1:
        return [(CORNER, np.array([1.0 - CORNER, 1.0 - CORNER]))]
    inner = np.linspace(CORNER, 1.0 - CORNER - STRIP, max(count, 3))[1 : count - 1]
    squares = [(STRIP, np.array([u, 1.0 - STRIP])) for u in inner]
    ends = [(CORNER, np.array([u, 1.0 - CORNER])) for u in (0.0, 1.0 - CORNER)]
    return [ends[0], *squares, ends[1]][:count]
