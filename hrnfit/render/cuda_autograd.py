"""The operations as `torch.autograd.Function`s over Triton kernels: fixed launches, nothing read on the host.

Sums of gradients are taken by atomic additions in no fixed order, so derivatives of the same inputs differ in the
last bits from call to call; what is drawn does not. A derivative that will itself be differentiated is that of the
reference's formulas. Arguments are trusted and contiguous: `cuda.py` sees to it.

Memory besides results, per view: 8 bytes a pixel for the z-buffer, 8 bytes a triangle for the queue of large ones.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry.launched import blocks, persistent, width_of
from hrnfit.render import cuda_barycentric_kernels, cuda_kernels, cuda_pixel_kernels
from hrnfit.render.reference import ReferenceRasterizer, plain_barycentrics, plain_interpolate

SMALL = 64
"""Most pixel centres in the bounding box of a triangle that one lane draws alone."""
CHUNK = 256
"""Pixels of a large triangle's bounding box that a program tests at once."""
RUN = 4
"""Pixels side by side whose gradients one lane sums before it adds them to the corners."""
EXACT = {"enable_fp_fusion": False}
"""Coverage is decided by the CPU's own roundings."""


def wide(channels: int) -> int:
    """Channels taken at a time: the power of two that holds them, 16 at most."""
    return min(16, 1 << max(channels - 1, 0).bit_length())


class Rasterize(torch.autograd.Function):
    """Triangle, barycentrics and depth of the pixels; the second differentiable in the points."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, faces: Tensor, height: int, width: int):
        size = (len(points), height, width)
        like: dict[str, Any] = {"device": points.device}
        triangle = torch.empty(size, dtype=torch.int32, **like)
        depth = torch.empty(size, dtype=points.dtype, **like)
        barycentric = torch.empty((*size, 3), dtype=points.dtype, **like)
        if triangle.numel():
            keys = torch.full(size, cuda_kernels.EMPTY, dtype=torch.int64, **like)
            if len(faces):
                _draw(points, faces, keys)
            block = width_of(128)
            cuda_barycentric_kernels.resolve[(*blocks(height * width, block), len(points))](
                points, faces, keys, triangle, barycentric, depth,
                points.shape[1], width, height * width, BLOCK=block,
            )  # fmt: skip
        ctx.save_for_backward(points, faces, triangle)
        ctx.mark_non_differentiable(triangle, depth)
        ctx.set_materialize_grads(False)
        return triangle, barycentric, depth

    @staticmethod
    def backward(ctx: Any, _triangle: None, grad: Tensor | None, _depth: None):
        if grad is None:
            return None, None, None, None
        points, faces, triangle = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(plain_barycentrics, triangle=triangle, faces=faces)
            return *plain_backward(plain, (points,), (True,), grad), None, None, None
        out = points.new_zeros(*points.shape[:2], 4)
        _, height, width = triangle.shape
        if triangle.numel() and len(faces):
            block = width_of(32)
            grid = (*blocks(height * width, RUN * block), len(points))
            cuda_barycentric_kernels.barycentrics_backward[grid](
                points, faces, triangle, grad.contiguous(), out,
                points.shape[1], width, height * width, RUN=RUN, BLOCK=block, num_warps=1,
            )  # fmt: skip
        return out[..., :3], None, None, None


def _draw(points: Tensor, faces: Tensor, keys: Tensor) -> None:
    """Enter all triangles of all views into the z-buffer (V, H, W)."""
    views, height, width = keys.shape
    counter = torch.zeros(1, dtype=torch.int64, device=points.device)
    queue = torch.empty((2, views * len(faces)), dtype=torch.int32, device=points.device)
    shape = (len(faces), points.shape[1], height, width)
    block = width_of(32)
    cuda_kernels.draw_small[(*blocks(len(faces), block), views)](
        points, faces, keys, counter, queue[0], queue[1], *shape,
        SMALL=SMALL, CHUNK=CHUNK, BLOCK=block, num_warps=1, **EXACT,
    )  # fmt: skip
    cuda_kernels.draw_large[(persistent(points.device),)](
        points, faces, keys, counter, queue[0], queue[1], *shape, CHUNK=CHUNK, **EXACT
    )


class Interpolate(torch.autograd.Function):
    """The raster (V or 1, H, W) may be one for all views; then its barycentrics are constants."""

    @staticmethod
    def forward(
        ctx: Any,
        attributes: Tensor,
        barycentric: Tensor,
        triangle: Tensor,
        faces: Tensor,
        views: int,
    ) -> Tensor:
        size = (views, *triangle.shape[1:], attributes.shape[-1])
        out = torch.empty(size, dtype=attributes.dtype, device=attributes.device)
        if out.numel():
            block = width_of(128)
            cuda_pixel_kernels.interpolate[blocks(math.prod(size[:3]), block)](
                attributes, barycentric, triangle, faces, out,
                *_sizes(attributes, triangle, faces, views), WIDE=wide(size[-1]), BLOCK=block,
            )  # fmt: skip
        ctx.save_for_backward(attributes, barycentric, triangle, faces)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        attributes, barycentric, triangle, faces = ctx.saved_tensors
        to_attributes, to_barycentric = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            seen = triangle.expand(len(grad), -1, -1)
            plain = partial(plain_interpolate, triangle=seen, faces=faces)
            inputs = (attributes, barycentric)
            found = plain_backward(plain, inputs, ctx.needs_input_grad[:2], grad)
            return *found, None, None, None
        grad = grad.contiguous()
        sizes, channels = _sizes(attributes, triangle, faces, len(grad)), wide(attributes.shape[-1])
        a_grad = torch.zeros_like(attributes) if to_attributes else None
        b_grad = torch.empty_like(barycentric) if to_barycentric else None
        block = width_of(128)
        if to_attributes and grad.numel():
            cuda_pixel_kernels.interpolate_to_attributes[blocks(sizes[0], RUN * block)](
                grad, barycentric, triangle, faces, a_grad, *sizes,
                RUN=RUN, WIDE=channels, BLOCK=block,
            )  # fmt: skip
        if to_barycentric and grad.numel():
            cuda_pixel_kernels.interpolate_to_barycentric[blocks(sizes[0], block)](
                grad, attributes, triangle, faces, b_grad, *sizes, WIDE=channels, BLOCK=block
            )
        return a_grad, b_grad, None, None, None


def _sizes(attributes: Tensor, triangle: Tensor, faces: Tensor, views: int) -> tuple[int, ...]:
    """Pixels, pixels of the raster, triangles, pixels per view, attribute rows per view (0: shared), channels."""
    period, per_view = triangle.numel(), triangle.shape[1] * triangle.shape[2]
    stride = attributes.shape[1] if len(attributes) > 1 else 0
    return views * per_view, period, len(faces), per_view, stride, attributes.shape[-1]


class SampleTexture(torch.autograd.Function):
    """The texture (V or 1, H, W, C) at the coordinates (V, h, w, 2)."""

    @staticmethod
    def forward(ctx: Any, texture: Tensor, uv: Tensor) -> Tensor:
        out = torch.empty(
            (*uv.shape[:-1], texture.shape[-1]), dtype=texture.dtype, device=texture.device
        )
        if out.numel():
            block = width_of(128)
            cuda_pixel_kernels.sample[blocks(uv.numel() // 2, block)](
                texture, uv, out, *_extents(texture, uv), WIDE=wide(texture.shape[-1]), BLOCK=block
            )
        ctx.save_for_backward(texture, uv)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        texture, uv = ctx.saved_tensors
        to_texture, to_uv = ctx.needs_input_grad
        if torch.is_grad_enabled():
            plain = ReferenceRasterizer().sample_texture
            return plain_backward(plain, (texture, uv), ctx.needs_input_grad, grad)
        grad = grad.contiguous()
        texture_grad = torch.zeros_like(texture) if to_texture else grad  # not touched
        uv_grad = torch.zeros_like(uv) if to_uv else grad
        if grad.numel():
            block = width_of(128)
            cuda_pixel_kernels.sample_backward[blocks(uv.numel() // 2, block)](
                grad, texture, uv, texture_grad, uv_grad, *_extents(texture, uv),
                TO_TEXTURE=to_texture, TO_UV=to_uv, WIDE=wide(texture.shape[-1]), BLOCK=block,
            )  # fmt: skip
        return texture_grad if to_texture else None, uv_grad if to_uv else None


def _extents(texture: Tensor, uv: Tensor) -> tuple[int, ...]:
    """Points, points per view, texels per view (0: shared), height, width and channels of the texture."""
    views, height, width, channels = texture.shape
    stride = height * width if views > 1 else 0
    return uv.numel() // 2, uv.shape[1] * uv.shape[2], stride, height, width, channels
