"""Rigidity and fold barrier on CUDA, each with its gradient by one kernel; the rest shape is a constant.

First derivatives only. Memory: a gradient as large as the vertices.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrnfit.energy import triangle_kernels as kernels
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
    return _Strain.apply(vertices, rest, faces, scale, KINDS[kernel])


def fold_energy(
    vertices: Float[Tensor, "T N 3"],
    rest: Float[Tensor, "T N 3"],
    faces: Int[Tensor, "F 3"],
    allowed: float,
    kernel: str,
) -> Float[Tensor, ""]:
    """`reduce` of the fold barrier over the triangles that are under it."""
    return _Fold.apply(vertices, rest, faces, allowed, KINDS[kernel])


def _launch(vertices: Tensor, faces: Tensor) -> tuple[tuple[int, int], int]:
    block = width_of(128)
    return (*blocks(len(faces), block), len(vertices)), block


class _Strain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, vertices: Tensor, rest: Tensor, faces: Tensor, scale: float, kind: int
    ) -> Tensor:
        vertices, rest, faces = vertices.contiguous(), rest.contiguous(), faces.contiguous()
        grid, block = _launch(vertices, faces)
        grad, parts = torch.zeros_like(vertices), vertices.new_empty(grid[0] * grid[1])
        share = 1.0 / max(3 * len(faces) * len(vertices), 1e-12)
        kernels.strain[grid](
            vertices, rest, faces, grad, parts, vertices.shape[1], len(faces), scale, share,
            KIND=kind, BLOCK=block,
        )  # fmt: skip
        ctx.save_for_backward(grad)
        return parts.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_energy: Tensor):  # type: ignore[override]
        return ctx.saved_tensors[0] * by_energy, None, None, None, None


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, vertices: Tensor, rest: Tensor, faces: Tensor, allowed: float, kind: int
    ) -> Tensor:
        vertices, rest, faces = vertices.contiguous(), rest.contiguous(), faces.contiguous()
        grid, block = _launch(vertices, faces)
        grad, parts = torch.zeros_like(vertices), vertices.new_empty(2, grid[0] * grid[1])
        kernels.fold[grid](
            vertices, rest, faces, grad, parts[0], parts[1], vertices.shape[1], len(faces), allowed,
            KIND=kind, BLOCK=block,
        )  # fmt: skip
        total, count = parts.sum(1).unbind()
        count = count.clamp_min(1e-12)
        ctx.save_for_backward(grad, count)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_energy: Tensor):  # type: ignore[override]
        grad, count = ctx.saved_tensors
        return grad * (by_energy / count), None, None, None, None
