"""Detail normals on CUDA: one launch forward, two or three backward.

Memory of the backward pass: 44 bytes per texel and view (float32), given back at its end.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.launched import blocks, width_of
from hrnfit.geometry.rows import by_row
from hrnfit.render import detail_cuda_kernels as kernels
from hrnfit.render.detail import detail_normals


def cuda_view_detail(
    positions: Float[Tensor, "T H W 3"],
    normals: Float[Tensor, "T H W 3"],
    displacement: Float[Tensor, "K H W"],
    mask: Bool[Tensor, "H W"],
    frame: Int[Tensor, "V"],
    rows: Int[Tensor, "V"],
) -> Float[Tensor, "V H W 3"]:
    """`detail.view_detail` on CUDA."""
    frame, rows = frame.to(positions.device), rows.to(positions.device)
    mask = kept_with(mask, ("numbers", positions.dtype), lambda: mask.to(positions.dtype))
    return _Detail.apply(positions, normals, displacement, mask, frame, rows)


def _plain(
    positions: Tensor,
    normals: Tensor,
    displacement: Tensor,
    mask: Tensor,
    frame: Tensor,
    rows: Tensor,
) -> Tensor:
    return detail_normals(positions[frame], normals[frame], displacement[rows], mask > 0)


class _Detail(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, normals: Tensor, displacement: Tensor,
        mask: Tensor, frame: Tensor, rows: Tensor,
    ) -> Tensor:  # fmt: skip
        given = (positions, normals, displacement, mask, frame, rows)
        given = tuple(x.contiguous() for x in given)
        height, width = mask.shape
        out = positions.new_empty(len(frame), height, width, 3)
        block = width_of(128)
        kernels.detail[(*blocks(height * width, block), len(frame))](
            *given, out, height, width, BLOCK=block
        )
        ctx.save_for_backward(*given)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):  # type: ignore[override]
        given = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            _, _, _, mask, frame, rows = given
            plain = partial(_plain, mask=mask, frame=frame, rows=rows)
            return *plain_backward(plain, given[:3], needed, grad), None, None, None
        positions, normals, displacement, mask, frame, rows = given
        height, width = mask.shape
        views, block = len(frame), width_of(128)
        to_surface = needed[0] or needed[1]
        by_u, by_v = (grad.new_empty(views, height * width, 4) for _ in range(2))
        by_normal = grad.new_empty(views if to_surface else 1, height * width, 3)
        shape, grid = (height, width), blocks(height * width, block)
        grad, stride = by_row(grad)
        kernels.detail_backward[(*grid, views)](
            *given, grad, stride, by_u, by_v, by_normal, *shape,
            TO_SURFACE=to_surface, BLOCK=block,
        )  # fmt: skip
        out: list[Tensor | None] = [None, None, None]
        if to_surface:
            out[:2] = torch.empty_like(positions), torch.empty_like(normals)
            kernels.gather_surface[(*grid, len(positions))](
                by_u, by_v, by_normal, mask, frame, *out[:2], views, *shape, BLOCK=block
            )
        if needed[2]:
            out[2] = torch.empty_like(displacement)
            kernels.gather_displacement[(*grid, len(displacement))](
                by_u, by_v, mask, rows, out[2], views, *shape, BLOCK=block
            )
        return *out, None, None, None
