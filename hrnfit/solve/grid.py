"""Normal equations of a map in UV from blocks at the texels of a finer square, and their solution.

A map of D x D nodes with k channels is read bilinearly at the S x S texels of a square, S = m D with
m even, so all texels of a cell between four nodes share their weights: assembly is one small matrix
product per cell instead of a scatter of 16 blocks per texel. Nodes outside the square repeat the
border. Few extra unknowns (poses, focal lengths) are eliminated by their Schur complement.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse  # type: ignore[import-untyped]
from scipy.sparse import linalg  # type: ignore[import-untyped]
from torch import Tensor

Matrix = Any
"""A scipy sparse matrix."""


@dataclass(frozen=True)
class MapGrid:
    """Assembly for maps of `nodes` per side and `channels` values per node."""

    nodes: int
    channels: int

    def texels_per_cell(self, size: int) -> int:
        """m of a square of `size` texels; ValueError when it does not fit."""
        m = size // self.nodes
        if m * self.nodes != size or m % 2:
            raise ValueError(
                f"texels: expected an even multiple of the map's {self.nodes} nodes per side, "
                f"got {size}; take {2 * self.nodes * max(1, round(size / (2 * self.nodes)))}"
            )
        return m

    def _cells(self, square: Float[Tensor, "S S c"]) -> Float[Tensor, "Q c mm"]:
        """Texels grouped by the cell of four nodes around them, Q = (nodes + 1)^2."""
        m, c = self.texels_per_cell(square.shape[0]), square.shape[-1]
        half, q = m // 2, self.nodes + 1
        padded = torch.nn.functional.pad(square.movedim(-1, 0), (half, half, half, half))
        cells = padded.reshape(c, q, m, q, m).permute(1, 3, 0, 2, 4)
        return cells.reshape(q * q, c, m * m)

    def _weights(self, m: int, like: Tensor) -> Float[Tensor, "mm 4"]:
        """Bilinear weights of a cell's texels: upper left, upper right, lower left, lower right."""
        f = (torch.arange(m, dtype=like.dtype, device=like.device) + 0.5) / m
        ramp = torch.stack([1.0 - f, f])  # (2, m)
        return torch.einsum("ai,bj->ijab", ramp, ramp).reshape(m * m, 4)

    @cached_property
    def _corners(self) -> np.ndarray:
        """Flat node index of each cell's corners (Q, 4), clamped at the border."""
        first = np.arange(-1, self.nodes)
        at = np.clip(np.stack([first, first + 1]), 0, self.nodes - 1)  # (2, q)
        index = at[:, None, :, None] * self.nodes + at[None, :, None, :]  # (2, 2, q, q)
        return index.reshape(4, -1).T

    def gradient(self, values: Float[Tensor, "S S c"]) -> Float[np.ndarray, "DD c"]:
        """Sum over texels of weight times value at every node; also for columns of extra unknowns."""
        m = self.texels_per_cell(values.shape[0])
        shares = self._cells(values) @ self._weights(m, values)  # (Q, c, 4)
        spread = shares.movedim(-1, 1).double().cpu().numpy()
        out = np.zeros((self.nodes**2, values.shape[-1]))
        for corner in range(4):
            np.add.at(out, self._corners[:, corner], spread[:, corner])
        return out

    def hessian(self, blocks: Float[Tensor, "S S kk"]) -> Matrix:
        """Sum of weight_a weight_b block over texels, (D D k, D D k) sparse; `blocks` k * k raveled."""
        k, m = self.channels, self.texels_per_cell(blocks.shape[0])
        weights = self._weights(m, blocks)
        pairs = (weights[:, :, None] * weights[:, None, :]).reshape(m * m, 16)
        cells = (self._cells(blocks) @ pairs).double().cpu().numpy()  # (Q, kk, 16)
        data = cells.reshape(-1, k, k, 4, 4).transpose(0, 3, 4, 1, 2)
        rows = self._corners[:, :, None, None, None] * k + np.arange(k)[:, None]
        columns = self._corners[:, None, :, None, None] * k + np.arange(k)[None, :]
        shape = data.shape
        index = (np.broadcast_to(a, shape).ravel() for a in (rows, columns))
        n = self.nodes**2 * k
        return sparse.coo_matrix((data.ravel(), tuple(index)), shape=(n, n)).tocsr()


@dataclass(frozen=True)
class ArrowEquations:
    """Normal equations of a map (n unknowns, sparse) and a few others (q unknowns, dense)."""

    hessian: Matrix
    gradient: Float[np.ndarray, "n"]
    coupling: Float[np.ndarray, "n q"]
    corner: Float[np.ndarray, "q q"]
    corner_gradient: Float[np.ndarray, "q"]


def solve_arrow(
    equations: ArrowEquations, damping: float = 0.0
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "q"]]:
    """Newton step (map, others) by one sparse factorisation.

    12,288 unknowns take 0.3 to 0.5 s. Conjugate gradients with a diagonal preconditioner took 2 to 3 s for
    400 iterations and were still 16 % off where the map is stiff. `damping` is relative to the diagonal.
    """
    diagonal = sparse.diags_array(damping * equations.hessian.diagonal())
    factor = factorised(equations.hessian + diagonal)
    solved = factor.solve(np.column_stack([equations.gradient, equations.coupling]))
    return eliminated(equations, solved, damping)


def factorised(matrix: Matrix) -> Any:
    """Sparse LU of a symmetric positive definite matrix; `.solve` applies the inverse."""
    return linalg.splu(
        matrix.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )


def eliminated(
    equations: ArrowEquations, solved: Float[np.ndarray, "n c"], damping: float
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "q"]]:
    """Newton step from what the map's Hessian answers to gradient (first column) and coupling."""
    # The others lie in long valleys (far and long against near and wide) that the map's damping would
    # turn into walls: 1 % of the diagonal is more than the curvature along them.
    corner = equations.corner + np.diag(1e-3 * damping * np.diag(equations.corner))
    schur = corner - equations.coupling.T @ solved[:, 1:]
    right = equations.coupling.T @ solved[:, 0] - equations.corner_gradient
    others = np.linalg.solve(schur, right)
    return -solved[:, 0] - solved[:, 1:] @ others, others
