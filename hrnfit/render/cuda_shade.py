"""Shading on CUDA as `torch.autograd.Function`s over Triton kernels: dense torch launches about forty kernels and
keeps nine values per pixel for the backward pass. The gradient of the light is summed in no fixed order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry.launched import blocks, width_of
from hrnfit.render import cuda_shade_kernels
from hrnfit.render.shade import plain_normalize, plain_shade

BLOCK = 512
"""Pixels of a program, so that their sum of the light's gradient is added once."""


class Shade(torch.autograd.Function):
    """Irradiance of normals (V, P, 3) under light (V, 9, 3)."""

    @staticmethod
    def forward(ctx: Any, normals: Tensor, light: Tensor, constants: tuple[float, ...]) -> Tensor:
        out = torch.empty_like(normals)
        views, pixels = normals.shape[:2]
        block = width_of(256)
        cuda_shade_kernels.shade[(*blocks(pixels, block), views)](
            normals, light, out, pixels, *constants, BLOCK=block
        )
        ctx.save_for_backward(normals, light)
        ctx.constants = constants
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        normals, light = ctx.saved_tensors
        if torch.is_grad_enabled():
            found = plain_backward(plain_shade, (normals, light), ctx.needs_input_grad[:2], grad)
            return *found, None
        to_light = ctx.needs_input_grad[1]
        normals_grad = torch.empty_like(normals)
        light_grad = torch.zeros_like(light) if to_light else light  # not touched
        views, pixels = normals.shape[:2]
        block = width_of(BLOCK)
        cuda_shade_kernels.shade_backward[(*blocks(pixels, block), views)](
            normals, light, grad.contiguous(), normals_grad, light_grad, pixels, *ctx.constants,
            TO_LIGHT=to_light, BLOCK=block,
        )  # fmt: skip
        return normals_grad, light_grad if to_light else None, None


class Normalize(torch.autograd.Function):
    """Unit vectors of (P, 3); zero stays zero."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        out = torch.empty_like(vectors)
        block = width_of(256)
        tiny = torch.finfo(vectors.dtype).tiny
        cuda_shade_kernels.normalize[blocks(len(vectors), block)](
            vectors, out, len(vectors), TINY=tiny, BLOCK=block
        )
        ctx.save_for_backward(vectors)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor | None:
        (vectors,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return plain_backward(plain_normalize, (vectors,), (True,), grad)[0]
        out = torch.empty_like(vectors)
        block = width_of(256)
        tiny = torch.finfo(vectors.dtype).tiny
        cuda_shade_kernels.normalize_backward[blocks(len(vectors), block)](
            vectors, grad.contiguous(), out, len(vectors), TINY=tiny, BLOCK=block
        )
        return out


def basis(normals: Tensor, constants: tuple[float, ...]) -> Tensor:
    """The nine harmonics (*B, 9) of normals (*B, 3), without a derivative: nine values laid beside each other by torch
    took 2.6 ms of 1.2 million normals on an H100."""
    flat = normals.contiguous()
    out = normals.new_empty(*normals.shape[:-1], 9)
    count, block = flat.numel() // 3, width_of(256)
    cuda_shade_kernels.basis[blocks(count, block)](flat, out, count, *constants, BLOCK=block)
    return out
