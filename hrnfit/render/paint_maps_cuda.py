"""Colour and coverage on CUDA from a raster, an albedo map and a map of detail normals per view: one kernel forward,
one backward.

Memory: what is painted and its normals (28 bytes per pixel, float32); backward, 12 bytes per pixel, and 16 bytes per
texel of the maps, of which gradients are views.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry.launched import blocks, persistent, width_of
from hrnfit.render import paint_maps_kernels as kernels
from hrnfit.render.paint_cuda import CONSTANTS, plain_paint
from hrnfit.render.rasterizer import Raster
from hrnfit.render.reference import ReferenceRasterizer, plain_interpolate
from hrnfit.render.shade import plain_normalize

LANES = 128
PROGRAMS = 3
"""Of the backward pass, per processor: what their registers leave room for."""


def painted_maps(
    raster: Raster,
    uv: Float[Tensor, "N 2"],
    uv_faces: Int[Tensor, "F 3"],
    albedo: Float[Tensor, "H W 3"],
    detail: Float[Tensor, "V h w 3"],
    light: Float[Tensor, "G 9 3"],
    rows: Int[Tensor, "V"],
) -> tuple[Float[Tensor, "V S S 4"], Float[Tensor, "V S S 3"]]:
    """Albedo times irradiance where a triangle is seen, and 1 there, else zeros; and the unit normals, without
    derivative. `detail` holds normals of any length."""
    return _PaintMaps.apply(
        raster.barycentric, albedo, detail, light, rows.to(albedo.device),
        raster.triangle, uv, uv_faces,
    )  # fmt: skip


def _plain(
    barycentric: Tensor, albedo: Tensor, detail: Tensor, light: Tensor,
    rows: Tensor, triangle: Tensor, uv: Tensor, uv_faces: Tensor,
) -> Tensor:  # fmt: skip
    at = plain_interpolate(uv[None], barycentric, triangle, uv_faces)
    look = ReferenceRasterizer().sample_texture
    normals = plain_normalize(look(detail, at))
    return plain_paint(look(albedo, at), normals, light, rows, triangle)


class _PaintMaps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, barycentric: Tensor, albedo: Tensor, detail: Tensor, light: Tensor,
        rows: Tensor, triangle: Tensor, uv: Tensor, uv_faces: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        given = (barycentric, albedo, detail, light, rows, triangle, uv, uv_faces)
        given = tuple(x.contiguous() for x in given)
        out = albedo.new_empty(*triangle.shape, 4)
        normals = albedo.new_empty(*triangle.shape, 3)
        block = width_of(128)
        if triangle.numel():
            kernels.paint_maps[(*blocks(triangle[0].numel(), block), len(triangle))](
                *_read(given), out, normals, *_sizes(given), *CONSTANTS,
                TINY=torch.finfo(out.dtype).tiny, BLOCK=block,
            )  # fmt: skip
        ctx.save_for_backward(*given)
        ctx.mark_non_differentiable(normals)
        ctx.set_materialize_grads(False)
        return out, normals

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _normals: None):  # type: ignore[override]
        if grad is None:
            return (None,) * 8
        given, needed = ctx.saved_tensors, ctx.needs_input_grad[:4]
        barycentric, albedo, detail, light, rows, triangle, uv, faces = given
        if torch.is_grad_enabled():
            plain = partial(_plain, rows=rows, triangle=triangle, uv=uv, uv_faces=faces)
            found = plain_backward(plain, (barycentric, albedo, detail, light), needed, grad)
            return *found, None, None, None, None
        out = (
            torch.empty_like(barycentric) if needed[0] else None,
            albedo.new_zeros(*albedo.shape[:-1], 4) if needed[1] else None,
            detail.new_zeros(*detail.shape[:-1], 4) if needed[2] else None,
            torch.zeros_like(light) if needed[3] else None,
        )
        grad = grad.contiguous()
        to = [grad if x is None else x for x in out]  # not touched where not wanted
        views, block = max(1, len(triangle)), width_of(LANES)
        programs = max(1, persistent(grad.device, PROGRAMS) // views)
        if triangle.numel():
            kernels.paint_maps_backward[(programs, views)](
                *_read(given), grad, *to, *_sizes(given), *CONSTANTS,
                TINY=torch.finfo(grad.dtype).tiny, PLACE=needed[0], ALBEDO=needed[1],
                DETAIL=needed[2], LIGHT=needed[3], BLOCK=block, num_warps=LANES // 32,
            )  # fmt: skip
        by_barycentric, by_albedo, by_detail, by_light = out
        return (
            by_barycentric,
            None if by_albedo is None else by_albedo[..., :3],
            None if by_detail is None else by_detail[..., :3],
            by_light, None, None, None, None,
        )  # fmt: skip


def _read(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What both kernels read, in their order."""
    barycentric, albedo, detail, light, rows, triangle, uv, faces = given
    return barycentric, triangle, uv, faces, albedo, detail, light, rows


def _sizes(given: tuple[Tensor, ...]) -> tuple[int, ...]:
    """Pixels per view, rows and columns of the albedo and of the detail."""
    _, albedo, detail, _, _, triangle, _, _ = given
    return triangle[0].numel(), *albedo.shape[:2], *detail.shape[1:3]
