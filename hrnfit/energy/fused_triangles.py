"""Rigidity and fold barrier on CUDA, each with its gradient by one kernel; the rest shape is a constant.

First derivatives only. Memory: a gradient as large as the vertices.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy import triangle_kernels as kernels
from hrnfit.energy.fused_mean import FusedMean
from hrnfit.energy.robust_kernels import KINDS
from hrnfit.geometry.launched import blocks, width_of


def strain_energy(
    vertices: Float[Tensor, "T N 3"],
    rest: Float[Tensor, "T N 3"],
    faces: Int[Tensor, "F 3"],
    scale: float,
    kernel: str,
) -> Float[Tensor, ""]:
    """`reduce` of `strain` over `scale`."""
    rest, faces, block = rest.contiguous(), faces.contiguous(), width_of(128)
    grid = (*blocks(len(faces), block), len(vertices))
    share = 1.0 / max(3 * len(faces) * len(vertices), 1e-12)

    def launch(read: Tensor, grad: Tensor, sums: Tensor) -> None:
        kernels.strain[grid](
            read, rest, faces, grad, sums, read.shape[1], len(faces), scale, share,
            KIND=KINDS[kernel], BLOCK=block,
        )  # fmt: skip

    return FusedMean.apply(vertices.contiguous(), (grid[0] * grid[1],), True, launch)


def fold_energy(
    vertices: Float[Tensor, "T N 3"],
    rest: Float[Tensor, "T N 3"],
    faces: Int[Tensor, "F 3"],
    allowed: float,
    kernel: str,
) -> Float[Tensor, ""]:
    """`reduce` of the fold barrier over the triangles that are under it."""
    rest, faces, block = rest.contiguous(), faces.contiguous(), width_of(128)
    grid = (*blocks(len(faces), block), len(vertices))

    def launch(read: Tensor, grad: Tensor, sums: Tensor) -> None:
        kernels.fold[grid](
            read, rest, faces, grad, sums[0], sums[1], read.shape[1], len(faces), allowed,
            KIND=KINDS[kernel], BLOCK=block,
        )  # fmt: skip

    return FusedMean.apply(vertices.contiguous(), (2, grid[0] * grid[1]), True, launch)
