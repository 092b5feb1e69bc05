"""The Newton step of a map on a GPU: dense Cholesky, or conjugate gradients where that is too large.

A sparse factorisation is one long chain of small steps, which a GPU cannot run side by side; a dense
one is matrix products. 12,288 unknowns are 0.6 Tflop and 1.2 GB: 25 ms on an H100 in float64, where the
sparse one takes 0.35 s on its host.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse  # type: ignore[import-untyped]
from torch import Tensor

from hrnfit.solve.grid import ArrowEquations, solve_arrow

LARGEST = 16_384
"""Unknowns up to which the dense matrix is taken: 2 GB, and as much again for its factor."""


def solve_arrow_on(
    equations: ArrowEquations, device: torch.device, damping: float = 0.0
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "q"]]:
    """`solve_arrow` where it is fastest: sparse on the CPU; on CUDA dense, or iterated when too large."""
    if device.type != "cuda":
        return solve_arrow(equations, damping)
    if len(equations.gradient) <= LARGEST:
        return solve_arrow_dense(equations, device, damping)
    found = solve_arrow_iterated(equations, device, damping)
    return solve_arrow(equations, damping) if found is None else found


def solve_arrow_dense(
    equations: ArrowEquations, device: torch.device, damping: float = 0.0
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "q"]]:
    """Newton step (map, others) in float64 on a device; `damping` is relative to the diagonal.

    Raises LinAlgError when the Hessian is not positive definite.
    """
    factor = torch.linalg.cholesky(_damped(_dense(equations, device), damping))
    columns = np.column_stack([equations.gradient, equations.coupling])
    right = torch.from_numpy(columns).to(device)
    return _joined(equations, right, torch.cholesky_solve(right, factor), damping)


def solve_arrow_iterated(
    equations: ArrowEquations,
    device: torch.device,
    damping: float = 0.0,
    tolerance: float = 1e-8,
    most: int = 6000,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "q"]] | None:
    """The same by conjugate gradients with a diagonal preconditioner; None when they do not converge.

    `tolerance` is of the residual's norm, relative. Every right-hand side runs on its own.
    """
    body = equations.hessian.tocsr()
    body = (body + sparse.diags(damping * body.diagonal())).tocsr()
    index, value = (torch.from_numpy(part).to(device) for part in _padded_rows(body))
    columns = np.column_stack([equations.gradient, equations.coupling])
    right = torch.from_numpy(columns).to(device)
    inverse = torch.from_numpy(1.0 / body.diagonal()).to(device)[:, None]
    solved = _conjugate_gradients(index, value, right, inverse, tolerance, most)
    return None if solved is None else _joined(equations, right, solved, damping)


def _padded_rows(
    matrix: sparse.csr_matrix,
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Columns and values of every row, padded with zeros: stencils have rows of nearly one length."""
    lengths = np.diff(matrix.indptr)
    inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
    index, value = np.zeros(inside.shape, np.int64), np.zeros(inside.shape)
    index[inside], value[inside] = matrix.indices, matrix.data
    return index, value


def _conjugate_gradients(
    index: Int[Tensor, "n k"],
    value: Float[Tensor, "n k"],
    right: Float[Tensor, "n c"],
    inverse: Float[Tensor, "n 1"],
    tolerance: float,
    most: int,
) -> Float[Tensor, "n c"] | None:
    """Hestenes and Stiefel 1952, all columns at once; looked at only every 100 steps, because a look
    makes the GPU wait."""
    solved, residual = torch.zeros_like(right), right.clone()
    pulled = inverse * residual
    direction, energy = pulled.clone(), (residual * pulled).sum(0)
    goal = tolerance * right.norm(dim=0)
    for step in range(most):
        if step % 100 == 0 and bool((residual.norm(dim=0) <= goal).all()):
            return solved
        image = torch.einsum("nk,nkc->nc", value, direction[index])
        length = energy / (direction * image).sum(0).clamp_min(1e-300)
        solved = solved + length * direction
        residual = residual - length * image
        pulled = inverse * residual
        before, energy = energy, (residual * pulled).sum(0)
        direction = pulled + energy / before.clamp_min(1e-300) * direction
    return None


def _joined(
    equations: ArrowEquations,
    right: Float[Tensor, "n c"],
    solved: Float[Tensor, "n c"],
    damping: float,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "q"]]:
    """Map and others by the Schur complement, from the body's answers to gradient and coupling."""
    device = right.device
    corner = _damped(torch.tensor(equations.corner, device=device), damping)
    schur = corner - right[:, 1:].mT @ solved[:, 1:]
    down = right[:, 1:].mT @ solved[:, 0] - torch.from_numpy(equations.corner_gradient).to(device)
    others = torch.linalg.solve(schur, down)
    change = -solved[:, 0] - solved[:, 1:] @ others
    return change.cpu().numpy(), others.cpu().numpy()


def _dense(equations: ArrowEquations, device: torch.device) -> Float[Tensor, "n n"]:
    """The sparse Hessian, laid out on the device."""
    triplets = equations.hessian.tocoo()
    triplets.sum_duplicates()
    rows, columns = (torch.from_numpy(i.astype(np.int64)).to(device) for i in triplets.coords)
    dense = torch.zeros(triplets.shape, dtype=torch.float64, device=device)
    dense[rows, columns] = torch.from_numpy(triplets.data.astype(np.float64)).to(device)
    return dense


def _damped(matrix: Tensor, damping: float) -> Tensor:
    """Its diagonal (1 + damping) times as large, in place: the matrix is too large for a copy."""
    matrix.diagonal().mul_(1.0 + damping)
    return matrix
