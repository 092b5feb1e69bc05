"""Loop's subdivision of triangle meshes (Loop 1987): every vertex moves, and the limit has continuous
normals. Boundaries follow the cubic B-spline of their own vertices.
"""

# torch.bincount and scipy.sparse have no complete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hrnfit.geometry.mesh import distinct_pairs


def loop_positions(
    vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "M 3"]:
    """Positions of one step, in the order of `geometry.mesh.subdivide`: the N vertices, then the edges."""
    corner = torch.cat([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]]).sort(dim=1).values
    ends, edge = distinct_pairs(corner)
    a, b = ends.long().unbind(1)
    rim = torch.bincount(edge, minlength=len(ends)) == 1
    opposite = vertices[faces.T.reshape(-1).long()]
    across = torch.zeros_like(vertices[a]).index_add(0, edge, opposite)
    both = vertices[a] + vertices[b]
    middles = torch.where(rim[:, None], 0.5 * both, 0.375 * both + 0.125 * across)
    smooth = _interior(vertices, a, b)
    along = _neighbour_sum(vertices, a[rim], b[rim])[0]
    on_rim = torch.zeros(len(vertices), dtype=torch.bool, device=vertices.device)
    on_rim[torch.cat([a[rim], b[rim]])] = True
    kept = torch.where(on_rim[:, None], 0.75 * vertices + 0.125 * along, smooth)
    return torch.cat([kept, middles])


def _interior(vertices: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(1 - w) v + w mean of its k neighbours, w = 5/8 - (3/8 + cos(2 pi / k) / 4)^2."""
    total, degree = _neighbour_sum(vertices, a, b)
    degree = degree.clamp_min(1.0)[:, None]
    weight = 0.625 - (0.375 + 0.25 * torch.cos(2.0 * math.pi / degree)).square()
    return (1.0 - weight) * vertices + weight * total / degree


def _neighbour_sum(vertices: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over the other ends of the edges (a, b) at each vertex, and their number."""
    total = torch.zeros_like(vertices).index_add(0, a, vertices[b]).index_add(0, b, vertices[a])
    ones = vertices.new_ones(len(a))
    degree = vertices.new_zeros(len(vertices)).index_add(0, a, ones).index_add(0, b, ones)
    return total, degree


def loop_matrix(faces: Int[Tensor, "F 3"], n_vertices: int) -> sp.csr_array:
    """The same as a sparse matrix (M, N), float64: constant per topology."""
    f = faces.cpu().numpy().astype(np.int64)
    corner = torch.cat([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]]).sort(dim=1).values
    pairs, inverse = (x.cpu().numpy() for x in distinct_pairs(corner.cpu()))
    edge, (a, b), n, e = inverse, pairs.astype(np.int64).T, n_vertices, len(pairs)
    rim = np.bincount(edge, minlength=e) == 1
    ends = sp.csr_array(
        (np.ones(2 * e), (np.tile(np.arange(e), 2), np.r_[a, b])), shape=(e, n), dtype=float
    )
    across = sp.csr_array((np.ones(len(edge)), (edge, f.T.reshape(-1))), shape=(e, n), dtype=float)
    inner = sp.diags_array((~rim).astype(float))
    middles = sp.diags_array(np.where(rim, 0.5, 0.375)) @ ends + 0.125 * (inner @ across)
    around = _neighbours(a, b, n)
    degree = np.maximum(around.sum(axis=1), 1.0)
    weight = 0.625 - (0.375 + 0.25 * np.cos(2.0 * math.pi / degree)) ** 2
    along = _neighbours(a[rim], b[rim], n)
    on_rim = along.sum(axis=1) > 0
    own = np.where(on_rim, 0.75, 1.0 - weight)
    spread = sp.diags_array(np.where(on_rim, 0.0, weight / degree)) @ around
    kept = sp.diags_array(own) + spread + 0.125 * along
    return sp.csr_array(sp.vstack([kept, middles]))


def _neighbours(a: NDArray[np.int64], b: NDArray[np.int64], n: int) -> sp.csr_array:
    """(n, n): how many of the edges (a, b) join two vertices."""
    ends = (np.r_[a, b], np.r_[b, a])
    return sp.csr_array((np.ones(2 * len(a)), ends), shape=(n, n), dtype=float)
