"""Normal equations of small maps, as texel blocks, as a sparse matrix and as a stencil."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from hrnfit.energy.smooth import bending_operator, membrane_operator
from hrnfit.solve.grid import ArrowEquations, MapGrid
from hrnfit.solve.map_newton import MapEquations
from hrnfit.solve.stencil import Stencil, assembled, cell_ramps, form_from_matrix, gathered


def texel_blocks(size: int, k: int, unseen: float = 0.4) -> tuple[Tensor, Tensor]:
    """Positive semi-definite blocks (S, S, k, k) and pulls (S, S, k); texels of the left are unseen."""
    generator = torch.Generator().manual_seed(size + k)
    rows = torch.randn(size, size, k, 2, generator=generator, dtype=torch.float64)
    rows[:, : int(unseen * size)] = 0.0
    return rows @ rows.mT, rows.sum(-1)


def smoothness(nodes: int, bending: float) -> sparse.csr_matrix:
    """One channel's regulariser on a chart with a hole."""
    used = torch.ones(nodes, nodes, dtype=torch.bool)
    used[nodes // 2 : nodes // 2 + 2, 1:4] = False
    form = 1e-6 * sparse.eye(nodes * nodes)
    operators = ((1e-3, membrane_operator(nodes, used)), (bending, bending_operator(nodes, used)))
    for weight, operator in operators:
        form = form + weight * (operator.T @ operator)
    return form.tocsr()


def both(nodes: int, k: int, bending: float, q: int) -> tuple[ArrowEquations, MapEquations]:
    """The same equations for `solve_arrow` and for the device, with a border of q others."""
    size = 4 * nodes
    blocks, pull = texel_blocks(size, k)
    grid, form = MapGrid(nodes, k), smoothness(nodes, bending)
    hessian = (grid.hessian(blocks.flatten(2)) + sparse.kron(form, sparse.eye(k))).tocsr()
    generator = torch.Generator().manual_seed(q)
    cross = torch.randn(size, size, q * k, generator=generator, dtype=torch.float64)
    cross[:, : size // 2] = 0.0
    gradient = grid.gradient(pull).ravel()
    coupling = (
        grid.gradient(cross).reshape(nodes**2, q, k).transpose(0, 2, 1).reshape(k * nodes**2, q)
    )
    corner = 1e4 * np.eye(q) + np.ones((q, q))
    arrow = ArrowEquations(hessian, gradient, coupling, corner, np.arange(1.0, q + 1))
    ramps = cell_ramps(nodes, 4)
    channels = lambda x: x.flatten(2).movedim(-1, 0).contiguous()  # noqa: E731
    data = assembled(channels(blocks), ramps).view(9, k, k, nodes, nodes)
    stencil = Stencil(data, form_from_matrix(form, nodes))
    return arrow, MapEquations(
        stencil,
        gathered(channels(pull), ramps),
        stencil.diagonal(),
        gathered(channels(cross), ramps).view(q, k, nodes, nodes),
        torch.from_numpy(corner),
        torch.arange(1.0, q + 1, dtype=torch.float64),
    )


def as_vector(maps: Tensor) -> np.ndarray:
    """(*B, k, H, W) in the order of `solve_arrow`, columns last."""
    return maps.movedim(-3, -1).flatten(-3).movedim(-1, 0).numpy()
