"""Colour and coverage on CUDA: painted by one kernel, antialiased by one pass of the renderer.

Memory: what is painted (16 bytes per pixel, float32); backward, the gradients of albedo and normals.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry.launched import blocks, width_of
from hrnfit.render import paint_cuda_kernels as kernels
from hrnfit.render.shade import DIFFERENCE, LINEAR, PRODUCT, ZONAL, plain_shade

CONSTANTS = (LINEAR, PRODUCT, ZONAL, DIFFERENCE)


def painted(
    albedo: Float[Tensor, "V S S 3"],
    normals: Float[Tensor, "V S S 3"],
    light: Float[Tensor, "G 9 3"],
    rows: Int[Tensor, "V"],
    triangle: Int[Tensor, "V S S"],
) -> Float[Tensor, "V S S 4"]:
    """Albedo times the irradiance of unit normals where a triangle is seen, and 1 there; else zeros."""
    return _Paint.apply(albedo, normals, light, rows.to(albedo.device), triangle)


def separated(
    both: Float[Tensor, "V S S 4"],
) -> tuple[Float[Tensor, "V S S 3"], Float[Tensor, "V S S"]]:
    """Colour and coverage, as views of the same memory."""
    return _Separate.apply(both)


def plain_paint(
    albedo: Tensor, normals: Tensor, light: Tensor, rows: Tensor, triangle: Tensor
) -> Tensor:
    """`painted` in plain torch, for any device."""
    hit = (triangle >= 0).to(albedo.dtype)[..., None]
    shaded = plain_shade(normals.flatten(1, 2), light[rows]).reshape(normals.shape)
    return torch.cat([hit * albedo * shaded, hit], -1)


class _Paint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, albedo: Tensor, normals: Tensor, light: Tensor, rows: Tensor, triangle: Tensor
    ) -> Tensor:
        given = tuple(x.contiguous() for x in (albedo, normals, light, rows, triangle))
        out = albedo.new_empty(*triangle.shape, 4)
        pixels, block = triangle[0].numel(), width_of(256)
        if out.numel():
            kernels.paint[(*blocks(pixels, block), len(triangle))](
                *given, out, pixels, *CONSTANTS, BLOCK=block
            )
        ctx.save_for_backward(*given)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):  # type: ignore[override]
        albedo, normals, light, rows, triangle = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            plain = partial(plain_paint, rows=rows, triangle=triangle)
            return *plain_backward(plain, (albedo, normals, light), needed, grad), None, None
        given = (albedo, normals, light)
        makes = (torch.empty_like, torch.empty_like, torch.zeros_like)
        out = [f(x) if n else None for f, x, n in zip(makes, given, needed, strict=True)]
        to = [grad if x is None else x for x in out]  # not touched where not wanted
        pixels, block = triangle[0].numel(), width_of(512)
        if triangle.numel():
            kernels.paint_backward[(*blocks(pixels, block), len(triangle))](
                *given, rows, triangle, grad.contiguous(), *to, pixels, *CONSTANTS,
                ALBEDO=needed[0], NORMALS=needed[1], LIGHT=needed[2], BLOCK=block,
            )  # fmt: skip
        return *out, None, None


class _Separate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.like = both.detach()
        return both[..., :3], both[..., 3]

    @staticmethod
    def backward(ctx: Any, by_image: Tensor | None, by_coverage: Tensor | None):  # type: ignore[override]
        if by_image is None and by_coverage is None:
            return None
        if torch.is_grad_enabled():
            like = ctx.like
            parts = (
                torch.zeros_like(like[..., :3]) if by_image is None else by_image,
                torch.zeros_like(like[..., 3]) if by_coverage is None else by_coverage,
            )
            return torch.cat([parts[0], parts[1][..., None]], -1)
        out = torch.empty_like(ctx.like)
        given = [out if x is None else x.contiguous() for x in (by_image, by_coverage)]
        pixels, block = out.numel() // 4, width_of(512)
        if pixels:
            kernels.join[blocks(pixels, block)](
                *given, out, pixels,
                IMAGE=by_image is not None, COVERAGE=by_coverage is not None, BLOCK=block,
            )  # fmt: skip
        return out
