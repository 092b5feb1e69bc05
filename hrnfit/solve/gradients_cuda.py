"""`map_newton.conjugate_gradients` on a stencil by Triton kernels: four launches a step beside the preconditioner's.

Sums are left in parts, one per program, and added up by the next kernel that wants them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.launched import width_of
from hrnfit.solve import cycle_cuda, stencil_kernels
from hrnfit.solve.stencil import Stencil


def stencil_gradients(
    stencil: Stencil,
    right: Float[Tensor, "c k H W"],
    precondition: Callable[[Tensor], Tensor],
    rounds: int,
    tolerance: float,
) -> tuple[Float[Tensor, "c k H W"], Float[Tensor, ""]]:
    """Solution, and the largest relative residual that is left."""
    right = right.contiguous()
    c, M = len(right), right[0].numel()
    block = width_of(1024 if M > 16384 else 256)
    G = (M + block - 1) // block
    padded, grid = 1 << (G - 1).bit_length(), (G, c)
    solved, direction, rest, image = (torch.empty_like(right) for _ in range(4))
    small = torch.empty_like(right, dtype=torch.float32)
    square = right.new_empty(rounds + 1, c, G)
    energy = right.new_ones(rounds + 1, c, G)
    sizes = cycle_cuda.sizes_of(stencil)
    nodes = (sizes["H"] * sizes["W"] + sizes["BLOCK"] - 1) // sizes["BLOCK"]
    curved, curved_padded = right.new_empty(c, nodes), 1 << (nodes - 1).bit_length()
    stencil_kernels.begin[grid](right, solved, direction, rest, small, square[0], M, BLOCK=block)
    for t in range(rounds):
        pulled = precondition(small)
        stencil_kernels.dot[grid](rest, pulled, energy[t + 1], M, BLOCK=block)
        stencil_kernels.turn[grid](
            pulled, direction, energy[t + 1], energy[t], G, M, GP=padded, BLOCK=block
        )
        stencil_kernels.product_dot[(nodes, c)](
            stencil.blocks, stencil.form, direction, image, curved, **sizes,
            num_warps=cycle_cuda.warps_of(sizes),
        )  # fmt: skip
        stencil_kernels.advance[grid](
            solved, rest, small, direction, image, energy[t + 1], curved, square[t], square[0],
            square[t + 1], tolerance**2, G, nodes, M,
            GP=padded, GDP=curved_padded, BLOCK=block,
        )  # fmt: skip
    share = square[-1].sum(1) / square[0].sum(1).clamp_min(1e-300)
    return solved, share.amax().sqrt()
