"""Rigidity and fold barrier on CUDA, with their gradients by one kernel; the rest shape is a constant.

First derivatives only. Memory: two gradients as large as the vertices.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy import triangle_kernels as kernels
from hrnfit.energy.fused_total import Group, Weighted, shared, summed
from hrnfit.energy.robust_kernels import KINDS
from hrnfit.geometry.launched import blocks, width_of


def triangle_group(
    vertices: Float[Tensor, "T N 3"],
    rest: Float[Tensor, "T N 3"],
    faces: Int[Tensor, "F 3"],
    strain: tuple[Weighted, float] | None,
    fold: tuple[Weighted, float] | None,
) -> Group:
    """`reduce` of `strain` over its scale, and of the fold barrier over the triangles that are under what it allows;
    one of them at least. Each term comes with that number."""
    read, rest, faces = vertices.contiguous(), rest.contiguous(), faces.contiguous()
    block, asked = width_of(128), [x for x in (strain, fold) if x is not None]
    grid = (*blocks(len(faces), block), len(read))
    kinds = [-1 if x is None else KINDS[x[0].kernel] for x in (strain, fold)]
    scale, allowed = (1.0 if x is None else x[1] for x in (strain, fold))
    share = 1.0 / max(3 * len(faces) * len(read), 1e-12)

    def launch(grad: Tensor, sums: Tensor) -> None:
        kernels.strain_and_fold[grid](
            read, rest, faces, grad[0], grad[-1], sums[0], sums[-1], read.shape[1], len(faces),
            scale, share, allowed, STRAIN=kinds[0], FOLD=kinds[1], BLOCK=block,
        )  # fmt: skip

    return Group(
        terms=tuple(term for term, _ in asked),
        read=read,
        parts=grid[0] * grid[1],
        weighed=tuple(x is fold for x in asked),
        gradients=lambda: read.new_zeros(len(asked), *read.shape),
        launch=launch,
        spread=summed if len(asked) == 2 else shared,
    )
