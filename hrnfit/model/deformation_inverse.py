"""The least-squares inverse of a deformation map on a GPU: the system of `deformation.py`, dense.

4,096 unknowns, shared by x, y and z, are 134 MB and 23 Gflop in float64. Above `LARGEST` the sparse solve
on the host takes over.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.definite import factor_or_nan
from hrnfit.model.deformation import DeformationOperator

LARGEST = 16_384
"""Texels up to which the dense matrix is taken: 2 GB, and as much again for its factor."""


def fit_map_on(
    operator: DeformationOperator,
    offsets: Float[Tensor, "N 3"],
    smoothness: float,
    weight: Float[Tensor, "N"],
) -> Float[Tensor, "D D 3"]:
    """`DeformationOperator.fit_map` where the offsets live; arguments as there."""
    if offsets.device.type != "cuda" or operator.size**2 > LARGEST:
        return operator.fit_map(offsets, smoothness, weight)
    return fit_map_dense(operator, offsets, smoothness, weight)


def fit_map_dense(
    operator: DeformationOperator,
    offsets: Float[Tensor, "N 3"],
    smoothness: float,
    weight: Float[Tensor, "N"],
) -> Float[Tensor, "D D 3"]:
    """The same by one dense Cholesky, on any device."""
    n, size = operator.size**2, operator.size
    texels, taps = operator.texels.long(), operator.weights.double()
    weighted = taps * weight.to(taps)[:, None]
    system = smoothness * roughness(size, taps)
    pairs = texels[:, :, None] * n + texels[:, None, :]
    system.view(-1).index_add_(0, pairs.flatten(), (weighted[:, :, None] * taps[:, None]).flatten())
    system.diagonal().add_(1e-9)
    right = taps.new_zeros(n, 3)
    right.index_add_(
        0, texels.flatten(), (weighted[..., None] * offsets.double()[:, None]).flatten(0, 1)
    )
    return torch.cholesky_solve(right, factor_or_nan(system)).view(size, size, 3).to(offsets)


def roughness(size: int, like: Float[Tensor, "*B"]) -> Float[Tensor, "n n"]:
    """Sum of squared second differences along rows and columns, as a quadratic form of size * size texels.

    like: gives dtype and device.
    """
    eye = torch.eye(size, dtype=like.dtype, device=like.device)
    if size < 3:
        return torch.zeros(size**2, size**2, dtype=like.dtype, device=like.device)
    second = eye[:-2] - 2.0 * eye[1:-1] + eye[2:]
    square = second.T @ second
    return torch.kron(square, eye) + torch.kron(eye, square)
