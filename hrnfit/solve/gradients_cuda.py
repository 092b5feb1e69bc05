"""`map_newton.conjugate_gradients` on a stencil by Triton kernels, its cycle included.

Per step two launches, five for each level, and one for the last ones. Sums are left in parts, one per
program, and added up by the next kernel that wants them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.launched import width_of
from hrnfit.solve import gradients_kernels
from hrnfit.solve.cycle_cuda import CudaMultigrid, padded, programs, sizes_of


def stencil_gradients(
    grid: CudaMultigrid, right: Float[Tensor, "c k H W"], rounds: int, tolerance: float
) -> tuple[Float[Tensor, "c k H W"], Float[Tensor, ""]]:
    """Solution of the grid's operator, and the largest relative residual that is left."""
    body, right = grid.body, right.contiguous()
    c, k, H, W = right.shape
    N, wide = H * W, padded(k)
    block = min(width_of(max(8, (128 if N <= 8192 else 512) // wide)), max(16, padded(N)))
    rows, G = -(-N // block), programs(body.blocks)
    solved, direction, before, rest, image = (torch.empty_like(right) for _ in range(5))
    small, start = (torch.empty_like(right, dtype=torch.float32) for _ in range(2))
    square, energy = right.new_empty(rounds + 1, c, rows), right.new_ones(rounds + 1, c, G)
    curved, begun = right.new_empty(c, G), len(grid.levels) > 0
    inverse, share = (grid.levels[0].inverse, grid.levels[0].rule.first) if begun else (small, 0.0)
    own = {"K": k, "KP": wide, "BLOCK": block, "BEGUN": begun}
    gradients_kernels.begin[(rows, c)](
        right, inverse, solved, before, rest, small, start, square[0], share, N, **own
    )
    for t in range(rounds):
        pulled = grid.begun(small, start, rest, energy[t + 1])
        if not begun:
            gradients_kernels.dot[(G, c)](
                rest, pulled, energy[t + 1], k * N, BLOCK=padded(-(-k * N // G))
            )
        gradients_kernels.turn[(G, c)](
            body.blocks, body.form, pulled, before, direction, image, energy[t + 1], energy[t],
            curved, G, **sizes_of(body.blocks), GP=padded(G),
        )  # fmt: skip
        gradients_kernels.advance[(rows, c)](
            inverse, direction, image, solved, rest, small, start, energy[t + 1], curved, square[t],
            square[0], square[t + 1], tolerance**2, share, G, G, rows, N,
            **own, GP=padded(G), GCP=padded(G), GSP=padded(rows),
        )  # fmt: skip
        before, direction = direction, before
    left = right.new_empty(())
    gradients_kernels.remaining[(1,)](
        square[-1], square[0], left, c, rows, CP=padded(c), GSP=padded(rows)
    )
    return solved, left
