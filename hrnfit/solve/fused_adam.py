"""Adam's update of a leaf by one launch."""

from __future__ import annotations

from torch import Tensor

from hrnfit.geometry.launched import blocks, width_of
from hrnfit.solve import adam_kernel
from hrnfit.solve.recorded_adam import EPSILON


def fused_update(
    leaf: Tensor,
    first: Tensor,
    second: Tensor,
    grad: Tensor,
    table: Tensor,
    step: Tensor,
    column: int,
    betas: tuple[float, float],
) -> None:
    """`recorded_adam.plain_update`, by a kernel. Leaf and moments must be contiguous."""
    count, block = leaf.numel(), width_of(512)
    if count:
        adam_kernel.update[blocks(count, block)](
            leaf, first, second, grad.contiguous(), table, step, *table.shape, column, count,
            1.0 - betas[0], betas[1], 1.0 - betas[1], EPSILON, BLOCK=block,
        )  # fmt: skip
