"""A chart carried on over surface that joins it: the known part stays, the rest is laid between.

Every new vertex is a convex combination of its neighbours with mean value weights (Floater 2003), as in
`uv.py`, with every known vertex held. The map has no flipped triangle where the new surface lies within
a convex border (a bag behind a hole); elsewhere the caller asks `chart_quality`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.uv import (
    boundary_loops,
    close_holes,
    mean_value_weights,
    solve_inner,
    split_loops,
)


def extend_chart(
    vertices: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "N 2"],
    known: Bool[Tensor, "N"],
) -> Float[Tensor, "N 2"]:
    """The chart of all vertices, where `uv` holds at the `known` ones.

    Raises ValueError when the surface is not one disk with holes.
    """
    points = vertices.detach().cpu().double().numpy()
    triangles = faces.detach().cpu().numpy().astype(np.int64)
    _, holes = split_loops(points, boundary_loops(faces, len(points)))
    closed_points, closed = close_holes(points, triangles, holes)
    fixed = np.flatnonzero(known.cpu().numpy())
    places = uv.detach().cpu().double().numpy()[fixed]
    flat = solve_inner(mean_value_weights(closed_points, closed), fixed, places)
    return torch.from_numpy(flat[: len(points)]).to(uv)
