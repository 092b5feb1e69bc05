"""The Newton step of several maps at once that data and prior tie together.

Factorising R maps as one costs R^3 times one of them, so they are solved by conjugate gradients that
factorise each map for itself, and the one that all have in common (additive Schwarz; Toselli & Widlund
2005, ch. 2). A stiff tie makes that common map the only soft direction, and the extra factor solves it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import sparse  # type: ignore[import-untyped]
from torch import Tensor

from hrnfit.solve.grid import ArrowEquations, MapGrid, Matrix, eliminated, factorised

Apply = Callable[[np.ndarray], np.ndarray]


def tied_hessian(nodes: int, blocks: Float[Tensor, "S S RR"]) -> Matrix:
    """`MapGrid(nodes, R).hessian`, one pair of maps at a time: with all at once, the indices of 5 maps
    of 256 x 256 took 1.3 GB beside 0.2 GB of values."""
    one = MapGrid(nodes, 1)
    pairs = [one.hessian(blocks[..., p : p + 1]) for p in range(blocks.shape[-1])]
    maps = round(len(pairs) ** 0.5)
    values = np.stack([pair.data for pair in pairs], axis=-1).reshape(-1, maps, maps)
    return sparse.bsr_array((values, pairs[0].indices, pairs[0].indptr)).tocsr()


def solve_tied(
    equations: ArrowEquations,
    maps: int,
    damping: float = 0.0,
    tolerance: float = 1e-6,
    most: int = 300,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "q"]]:
    """`solve_arrow` of `maps` maps of one channel, their values side by side at every node.

    `damping` is relative to the diagonal of the map that all have in common: a share of a stiff tie
    would hold that map still. `tolerance` is of the residual's norm, relative; after `most` iterations
    the step is taken as it is, short of the minimum but downhill. Each of the others costs as much
    again as the maps.
    """
    nodes = equations.hessian.shape[0] // maps
    together = sparse.kron(sparse.eye_array(nodes), np.ones((maps, 1))).tocsr()
    weight = damping / maps * (together.T @ equations.hessian @ together).diagonal()
    body = (equations.hessian + sparse.diags_array(np.repeat(weight, maps))).tocsr()
    right = np.column_stack([equations.gradient, equations.coupling])
    precondition = _each_and_common(body, together)
    solved = _conjugate_gradients(body, right, precondition, tolerance, most)
    return eliminated(equations, solved, damping)


def _each_and_common(body: Matrix, together: Matrix) -> Apply:
    """Sum of the answers of every map for itself and of the map that all have in common."""
    maps = body.shape[0] // together.shape[1]
    each = [factorised(body[r::maps, r::maps]) for r in range(maps)]
    common = factorised(together.T @ body @ together)

    def apply(residual: np.ndarray) -> np.ndarray:
        out = together @ common.solve(together.T @ residual)
        for r, factor in enumerate(each):
            out[r::maps] += factor.solve(np.ascontiguousarray(residual[r::maps]))
        return out

    return apply


def _conjugate_gradients(
    body: Matrix,
    right: Float[np.ndarray, "n c"],
    precondition: Apply,
    tolerance: float,
    most: int,
) -> Float[np.ndarray, "n c"]:
    """Hestenes & Stiefel 1952, all columns at once."""
    solved, residual = np.zeros_like(right), right.copy()
    direction, before = np.zeros_like(right), np.ones(right.shape[1])
    goal = tolerance * np.linalg.norm(right, axis=0)
    for _ in range(most):
        if (np.linalg.norm(residual, axis=0) <= goal).all():
            break
        pulled = precondition(residual)
        energy = (residual * pulled).sum(0)
        direction = pulled + energy / before * direction
        image = body @ direction
        length = energy / np.maximum((direction * image).sum(0), 1e-300)
        solved, residual = solved + length * direction, residual - length * image
        before = np.maximum(energy, 1e-300)
    return solved
