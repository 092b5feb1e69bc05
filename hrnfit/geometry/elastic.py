# pyright: basic
# scipy.sparse carries no types that strict mode accepts.
"""A surface that bends and stretches at a price: Laplacian coordinates that turn and scale along.

    E(x) = h^4 sum_i |L x - T_i L r|_i^2 / m_i  +  mu h^2 sum_ij w_ij |(x_i - x_j) - T_ij (r_i - r_j)|^2

with rest shape r, cotangent weights w, their Laplacian L, vertex areas m, and T_i the similarity that
takes the neighbourhood of vertex i in r best to where it is in x: bending (Sorkine et al. 2004) and
stretching (Sorkine and Alexa 2007, with a local scale). With T held fixed the energy is quadratic with
one matrix of N unknowns for all three coordinates. h is the length over which the surface stays stiff.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse.linalg import splu
from torch import Tensor

from hrnfit.geometry.mesh import edges

Array = NDArray[Any]

SCALES = (0.6, 1.6)
"""A neighbourhood is not believed to shrink or grow further than this: there it is folded."""

SMOOTHING = 2
"""Rings over which local similarities are averaged: one ring alone follows the noise of its vertices."""

LEAST_WEIGHT = 0.02
"""Lowest weight of an edge, over the mean: obtuse triangles give negative cotangents."""


class Elastic:
    """The energy of one rest shape."""

    def __init__(self, rest: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> None:
        self.rest: Array = rest.detach().double().cpu().numpy()
        triangles = faces.cpu().numpy().astype(np.int64)
        self.areas = vertex_areas(self.rest, triangles)
        self._pairs = edges(faces).cpu().numpy().astype(np.int64)
        self._weights = _edge_weights(self.rest, triangles, self._pairs)
        n, (i, j) = len(self.rest), self._pairs.T
        graph = sp.csr_matrix((self._weights, (i, j)), shape=(n, n))
        graph = graph + graph.T
        degree = np.asarray(graph.sum(axis=1)).ravel()
        self._laplacian = sp.csr_matrix(sp.diags(degree) - graph)
        self._spread = sp.csr_matrix(graph + sp.diags(np.maximum(degree, 1e-12)))
        self._bend = sp.csr_matrix(self._laplacian.T @ sp.diags(1.0 / self.areas))
        self._curvature = self._laplacian @ self.rest

    def matrix(self, stiffness: float, stretch: float) -> sp.csr_matrix:
        """Second derivative over two; `stiffness`: h, mm; `stretch`: mu."""
        bending = stiffness**4 * (self._bend @ self._laplacian)
        return sp.csr_matrix(bending + stretch * stiffness**2 * self._laplacian)

    def right(self, x: Array, stiffness: float, stretch: float) -> Array:
        """What the matrix times the solution must equal, with the similarities of the shape `x`."""
        T = self.similarities(x)
        bent = np.einsum("nij,nj->ni", T, self._curvature)
        i, j = self._pairs.T
        across = (self.rest[i] - self.rest[j])[:, :, None]
        moved = (0.5 * (T[i] + T[j]) @ across)[..., 0] * self._weights[:, None]
        pull = np.zeros_like(self.rest)
        np.add.at(pull, i, moved)
        np.subtract.at(pull, j, moved)
        return stiffness**4 * (self._bend @ bent) + stretch * stiffness**2 * pull

    def similarities(self, x: Array) -> Array:
        """T_i (N, 3, 3): rotation times scale of every neighbourhood, rest to `x`."""
        i, j = self._pairs.T
        before, after = self.rest[i] - self.rest[j], x[i] - x[j]
        n = len(x)
        products = (after[:, :, None] * before[:, None, :] * self._weights[:, None, None]).reshape(
            -1, 9
        )
        lengths = (before**2).sum(1) * self._weights
        entries = np.concatenate([products, lengths[:, None]], axis=1)
        ends = sp.csr_matrix(
            (np.ones(2 * len(i)), (np.concatenate([i, j]), np.tile(np.arange(len(i)), 2))),
            shape=(n, len(i)),
        )
        sums = ends @ entries
        for _ in range(SMOOTHING):
            sums = self._spread @ sums
        covariance = torch.from_numpy(sums[:, :9].reshape(n, 3, 3))
        U, singular, Vh = torch.linalg.svd(covariance)
        sign = torch.ones_like(singular)
        sign[:, 2] = torch.where(torch.linalg.det(U @ Vh) < 0, -1.0, 1.0)
        rotation = U @ (sign[..., None] * Vh)
        scale = (singular * sign).sum(-1) / torch.from_numpy(sums[:, 9]).clamp_min(1e-30)
        return (rotation * scale.clamp(*SCALES)[:, None, None]).numpy()


def factorized(matrix: sp.spmatrix) -> Any:
    """LU of a symmetric positive definite matrix, without pivoting: half the fill of the default."""
    return splu(
        sp.csc_matrix(matrix),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.01,
        options={"SymmetricMode": True},
    )


def vertex_areas(points: Array, triangles: Array) -> Array:
    """A third of the area of the triangles around each vertex; a little where there is none."""
    corners = points[triangles]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * np.linalg.norm(across, axis=1)
    sums = np.bincount(triangles.ravel(), np.repeat(area, 3) / 3.0, minlength=len(points))
    return np.maximum(sums, 1e-3 * max(float(sums.mean()), 1e-12))


def _edge_weights(points: Array, triangles: Array, pairs: Array) -> Array:
    """Half the sum of the cotangents opposite to each edge, from below by `LEAST_WEIGHT` of their mean."""
    n = len(points)
    total = np.zeros(len(pairs))
    keys = pairs[:, 0] * n + pairs[:, 1]
    for k in range(3):
        corner, a, b = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        to_a, to_b = points[a] - points[corner], points[b] - points[corner]
        twice_area = np.linalg.norm(np.cross(to_a, to_b), axis=1)
        cotangent = 0.5 * (to_a * to_b).sum(1) / np.maximum(twice_area, 1e-9)
        edge = np.searchsorted(keys, np.minimum(a, b) * n + np.maximum(a, b))
        np.add.at(total, edge, cotangent)
    least = LEAST_WEIGHT * float(np.abs(total).mean())
    return np.clip(total, least, 50.0 * float(np.abs(total).mean()))
