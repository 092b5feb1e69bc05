"""Skin that slides under its own vertices: the part of a deformation that photographs do not show.

Views that agree on a surface agree on it however its points are named: moving vertices along the surface leaves every
photograph as it is, as long as the albedo is free. Only noise and the borders of what is seen pull at that part, and a
soft membrane lets it go; starts 1e-4 mm apart then end 0.1 mm apart, nearly all of it along the surface. So it is held
to where a stage found it.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse  # type: ignore[import-untyped]
from torch import Tensor

from hrnfit.energy.texels import Texels
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.solve.grid import Matrix


def sliding_blocks(
    vertices: Float[Tensor, "T N 3"], faces: Int[Tensor, "F 3"], nodes: Texels, weight: float
) -> Float[Tensor, "3 3 D D"]:
    """Quadratic form at each node of a map: `weight` times the mean square over the map, I - n n^T averaged over frames.

    Zero outside of the chart. vertices: head frame. nodes: the texels of the model's chart at the map's resolution.
    """
    normals = nodes.interpolate(vertex_normals(vertices, faces))
    normals = normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    outer = (normals[..., :, None] * normals[..., None, :]).mean(0)
    along = torch.eye(3, dtype=outer.dtype, device=outer.device) - outer
    return nodes.square(along * (weight / nodes.size**2)).permute(2, 3, 0, 1).contiguous().double()


def sliding_matrix(blocks: Float[Tensor, "3 3 D D"]) -> Matrix:
    """The same form on vectors of `FreeMap`."""
    nodes = blocks.shape[-1] ** 2
    own = blocks.permute(2, 3, 0, 1).reshape(nodes, 3, 3).cpu().numpy()
    places = np.arange(nodes + 1)
    return sparse.bsr_matrix((own, places[:-1], places)).tocsr()
