"""Gauss-Newton for many unknowns with sparse normal equations: deformation maps and their like.

Each residual touches a few grid points, so A^T A of a D x D x 3 map is sparse. A constant
regulariser (Laplacian, ridge) is added to it; one sparse solve per step, damped until the energy
falls. Tensors and scipy matrices in, tensors out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse  # type: ignore[import-untyped]
from scipy.sparse import linalg  # type: ignore[import-untyped]
from torch import Tensor

from hrnfit.solve.solver import Outcome, Solution

Matrix = Any
"""A scipy sparse matrix."""


@dataclass(frozen=True)
class SparseEquations:
    """Data part of the quadratic model around a point."""

    energy: float
    """Sum of |e|^2 / 2 of the data."""
    hessian: Matrix
    """A^T A, (n, n) sparse."""
    gradient: Float[np.ndarray, "n"]
    """A^T e."""


def sparse_equations(
    residual: Float[Tensor, "m"], jacobian: Matrix, weight: Float[Tensor, "m"] | None = None
) -> SparseEquations:
    """Normal equations of residuals with a sparse Jacobian (m, n), optionally weighted."""
    e = residual.detach().cpu().double().numpy()
    w = np.ones_like(e) if weight is None else weight.detach().cpu().double().numpy()
    weighted = jacobian.multiply(w[:, None]).tocsr()
    return SparseEquations(
        0.5 * float((w * e * e).sum()), (weighted.T @ jacobian).tocsr(), weighted.T @ e
    )


def grid_laplacian(height: int, width: int, channels: int) -> Matrix:
    """Second differences of a (height, width, channels) map: its Gram matrix is a smoothness prior.

    Rows along u and along v; the border has none, so planes are free.
    """

    def second(n: int) -> Matrix:
        return sparse.diags_array(
            [np.ones(n - 2), -2 * np.ones(n - 2), np.ones(n - 2)],
            offsets=(0, 1, 2),  # pyright: ignore[reportArgumentType] - scipy's stub knows one
            shape=(n - 2, n),
        )

    def eye(n: int) -> Matrix:
        return sparse.eye_array(n)

    along_v = sparse.kron(second(height), eye(width))
    along_u = sparse.kron(eye(height), second(width))
    return sparse.kron(sparse.vstack([along_v, along_u]), eye(channels)).tocsr()


@dataclass(frozen=True)
class SparseGaussNewton:
    """Settings of the solver."""

    max_steps: int = 10
    damping: float = 1e-6
    """First damping, relative to the diagonal."""
    tolerance: float = 1e-5
    """Ends when a step lowers the energy by less than this fraction."""
    method: Literal["direct", "cg"] = "direct"
    """Sparse factorisation; or conjugate gradients with a diagonal preconditioner, for big maps."""
    cg_tolerance: float = 1e-6
    max_retries: int = 8
    """Dampings tried, each 10 times the last, before a step is given up."""

    def minimize(
        self,
        linearize: Callable[[Tensor], SparseEquations],
        energy: Callable[[Tensor], float],
        start: Float[Tensor, "*S"],
        regulariser: Matrix,
        name: str = "deformation",
    ) -> Solution:
        """Minimum of data energy + x^T R x / 2 over one leaf of any shape.

        `linearize` and `energy` see the leaf in its shape; `regulariser` R is (n, n), constant.
        """
        began, x = time.perf_counter(), start.detach().cpu().double().numpy().reshape(-1)
        R = regulariser.tocsr()
        if R.shape != (x.size, x.size):
            raise ValueError(f"regulariser: expected {(x.size, x.size)}, got {R.shape}")

        def leaf(vector: np.ndarray) -> Tensor:
            return torch.from_numpy(vector).to(start).reshape(start.shape)

        def total(vector: np.ndarray) -> float:
            return energy(leaf(vector)) + 0.5 * float(vector @ (R @ vector))

        energies, outcome, damping = [total(x)], Outcome.MAX_STEPS, self.damping
        if not math.isfinite(energies[0]):
            return Solution({name: start}, Outcome.NON_FINITE, 0)
        for _ in range(self.max_steps):
            equations = linearize(leaf(x))
            H, g = equations.hessian + R, equations.gradient + R @ x
            step, damping = self._step(H, g, x, total, energies[-1], damping)
            if step is None:
                outcome = self._flat(H, g, energies[-1])
                break
            x = x + step
            energies.append(total(x))
            if energies[-2] - energies[-1] <= self.tolerance * energies[-2]:
                outcome = Outcome.CONVERGED
                break
        seconds = time.perf_counter() - began
        steps = len(energies) - 1
        return Solution({name: leaf(x)}, outcome, steps, tuple(energies), seconds=seconds)

    def _step(
        self,
        H: Matrix,
        g: np.ndarray,
        x: np.ndarray,
        total: Callable[[np.ndarray], float],
        now: float,
        damping: float,
    ) -> tuple[np.ndarray | None, float]:
        """A step that lowers the energy, and the damping to go on with; None when there is none."""
        diagonal = np.maximum(H.diagonal(), 1e-12 * max(float(H.diagonal().max()), 1e-30))
        for _ in range(self.max_retries):
            step = self._solve(H + sparse.diags_array(damping * diagonal), -g, diagonal)
            trial = total(x + step) if np.isfinite(step).all() else math.inf
            if trial < now:
                predicted = -float(g @ step + 0.5 * step @ (H @ step))
                good = now - trial > 0.5 * predicted  # trust check: grow only on a faithful model
                return step, max(damping / 10, 1e-12) if good else damping
            damping *= 10
        return None, damping

    def _solve(self, H: Matrix, b: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
        if self.method == "direct":
            # symmetric mode with minimum degree on H^T + H: a Cholesky in all but name
            options = {"SymmetricMode": True}
            factor = linalg.splu(
                H.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options
            )
            return factor.solve(b)
        preconditioner = sparse.diags_array(1.0 / diagonal)
        return linalg.cg(H, b, rtol=self.cg_tolerance, maxiter=2000, M=preconditioner)[0]

    def _flat(self, H: Matrix, g: np.ndarray, now: float) -> Outcome:
        """Converged when the model promises next to nothing, else stalled."""
        diagonal = np.maximum(H.diagonal(), 1e-30)
        promise = 0.5 * float((g * g / diagonal).sum())
        return Outcome.CONVERGED if promise <= self.tolerance * max(now, 1e-30) else Outcome.STALLED
