"""The mid level: a deformation map in UV, sampled at the vertices (HRN, sec. 3.2).

offset_n = mean over the corners of vertex n in the chart of sum_k w_nk map[texel_nk]. The weights
depend only on the chart and the map's size, so sampling is one gather, and the same weights serve
the Gauss-Newton assembly and the least-squares inverse. Texel (row, column) has its centre at
((column + 0.5) / D, (row + 0.5) / D); outside the outermost centres the border texel counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from scipy.sparse.linalg import spsolve
from torch import Tensor

from hrnfit.geometry.mesh import distinct_pairs
from hrnfit.geometry.rows import weighted_rows

Kernel = Literal["bilinear", "cubic"]


@dataclass(frozen=True)
class DeformationOperator:
    """Map to vertices, as K texels and weights for each of N vertices."""

    texels: Int[Tensor, "N K"]
    """Flat texel index, row * size + column."""
    weights: Float[Tensor, "N K"]
    """Sum to 1 per vertex; padding has weight 0."""
    size: int
    """Texels per side, D."""

    def __call__(self, deformation: Float[Tensor, "*B D D 3"]) -> Float[Tensor, "*B N 3"]:
        """Offset of every vertex, mm, differentiable in the map."""
        if tuple(deformation.shape[-3:]) != (self.size, self.size, 3):
            raise ValueError(
                f"deformation: expected (..., {self.size}, {self.size}, 3) mm, "
                f"got {tuple(deformation.shape)}; build the operator for the map's own size"
            )
        flat = deformation.flatten(-3, -2)
        return weighted_rows(flat, self.texels, self.weights)

    def matrix(self) -> sp.csr_matrix:
        """The same as a sparse matrix (N, D * D), float64."""
        n, k = self.texels.shape
        rows = np.repeat(np.arange(n), k)
        columns = self.texels.cpu().numpy().ravel()
        values = self.weights.detach().cpu().double().numpy().ravel()
        return sp.csr_matrix((values, (rows, columns)), shape=(n, self.size**2))

    def fit_map(
        self,
        offsets: Float[Tensor, "N 3"],
        smoothness: float = 1e-3,
        weight: Float[Tensor, "N"] | None = None,
    ) -> Float[Tensor, "D D 3"]:
        """Least-squares inverse: the map that gives these offsets (mm) best.

        smoothness: weight of the squared second differences, which alone decide in texels that no
        vertex touches. weight: of each vertex, 1 without. Solves one sparse system of D * D unknowns.
        """
        if offsets.shape != (len(self.texels), 3):
            raise ValueError(
                f"offsets: expected ({len(self.texels)}, 3) mm, got {tuple(offsets.shape)}"
            )
        sampling = self.matrix()
        trust = np.ones(len(offsets)) if weight is None else weight.detach().cpu().double().numpy()
        weighted = sampling.T @ sp.diags(trust)
        system = weighted @ sampling + smoothness * roughness(self.size)
        system = system + 1e-9 * sp.identity(self.size**2)
        right = weighted @ offsets.detach().cpu().double().numpy()
        solution = spsolve(system.tocsc(), right)
        return torch.from_numpy(solution).reshape(self.size, self.size, 3).to(offsets)

    def to(self, target: torch.dtype | torch.device | str) -> DeformationOperator:
        """A copy on another device, or with its weights in another dtype."""
        texels = self.texels if isinstance(target, torch.dtype) else self.texels.to(target)
        return DeformationOperator(texels, self.weights.to(target), self.size)


def deformation_operator(
    faces: Int[Tensor, "F 3"],
    uv: Float[Tensor, "Nuv 2"],
    uv_faces: Int[Tensor, "F 3"],
    n_vertices: int,
    size: int,
    kernel: Kernel = "bilinear",
) -> DeformationOperator:
    """The operator of a chart for maps of `size` texels per side.

    `bilinear` interpolates 2x2 texels, `cubic` is the uniform cubic B-spline over 4x4: smoother, and
    it does not interpolate the texels. A vertex on a seam takes the mean of its places in the chart.
    """
    if size < 1:
        raise ValueError(f"size: expected at least 1 texel per side, got {size}")
    texels, weights = TAPS[kernel](uv, size)
    corners, counts = _corners(faces, uv_faces, n_vertices)
    share = (corners >= 0).to(weights) / counts.clamp_min(1)[:, None].to(weights)
    picked = corners.clamp_min(0)
    return DeformationOperator(
        texels=texels[picked].flatten(1).int(),
        weights=(weights[picked] * share[..., None]).flatten(1),
        size=size,
    )


def bilinear_taps(
    uv: Float[Tensor, "P 2"], size: int
) -> tuple[Int[Tensor, "P 4"], Float[Tensor, "P 4"]]:
    """Flat texel indices and bilinear weights at UV positions."""
    place = uv * size - 0.5
    first = place.floor()
    part = place - first
    ramp = torch.stack([1.0 - part, part], dim=1)
    return _outer_taps(first.long(), ramp, size)


def cubic_taps(
    uv: Float[Tensor, "P 2"], size: int
) -> tuple[Int[Tensor, "P 16"], Float[Tensor, "P 16"]]:
    """Flat texel indices and cubic B-spline weights at UV positions."""
    place = uv * size - 0.5
    first = place.floor()
    t = place - first
    ramp = torch.stack(
        [
            (1.0 - t) ** 3,
            3.0 * t**3 - 6.0 * t**2 + 4.0,
            -3.0 * t**3 + 3.0 * t**2 + 3.0 * t + 1.0,
            t**3,
        ],
        dim=1,
    )
    return _outer_taps(first.long() - 1, ramp / 6.0, size)


TAPS = {"bilinear": bilinear_taps, "cubic": cubic_taps}


def _outer_taps(
    first: Int[Tensor, "P 2"], ramp: Float[Tensor, "P K 2"], size: int
) -> tuple[Int[Tensor, "P KK"], Float[Tensor, "P KK"]]:
    """Products of the taps along u and v, border texels repeated outside."""
    steps = torch.arange(ramp.shape[1], device=first.device)
    at = (first[:, None, :] + steps[None, :, None]).clamp(0, size - 1)
    texels = at[:, :, None, 1] * size + at[:, None, :, 0]
    weights = ramp[:, :, None, 1] * ramp[:, None, :, 0]
    return texels.flatten(1), weights.flatten(1)


def _corners(
    faces: Int[Tensor, "F 3"], uv_faces: Int[Tensor, "F 3"], n_vertices: int
) -> tuple[Int[Tensor, "N S"], Int[Tensor, "N"]]:
    """Distinct places in the chart of each vertex, -1 padded, and how many."""
    pairs, _ = distinct_pairs(
        torch.stack([faces.long().flatten(), uv_faces.long().flatten()], dim=1)
    )
    counts = torch.bincount(pairs[:, 0], minlength=n_vertices)
    if bool((counts == 0).any()):
        raise ValueError(f"faces: {int((counts == 0).sum())} vertices have no place in the chart")
    start = counts.cumsum(0) - counts
    slot = torch.arange(len(pairs), device=pairs.device) - start[pairs[:, 0]]
    corners = torch.full((n_vertices, int(counts.max())), -1, device=pairs.device)
    corners[pairs[:, 0], slot] = pairs[:, 1]
    return corners, counts


def roughness(size: int) -> sp.csr_matrix:
    """Sum of squared second differences along rows and columns, as a quadratic form."""
    if size < 3:
        return sp.csr_matrix((size**2, size**2))
    rows = [sp.eye(size - 2, size, k=k) for k in range(3)]
    second = rows[0] - 2.0 * rows[1] + rows[2]
    square = second.T @ second
    eye = sp.identity(size)
    return sp.csr_matrix(sp.kron(square, eye) + sp.kron(eye, square))
