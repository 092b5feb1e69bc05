"""Vertex normals, sparse rows and projection on CUDA, each one launch forward and one or two backward.

For first derivatives; a derivative that will itself be differentiated is that of the plain formula. Tables are
made once per topology and kept with it. Memory: the sums of the normals, as large as the vertices.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry import mesh_cuda_kernels as kernels
from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.launched import blocks, width_of
from hrnfit.geometry.mesh import gathered_vertex_normals
from hrnfit.geometry.rows import plain_rows, project_views


def around_vertices(faces: Int[Tensor, "F 3"], vertices: int) -> Int[Tensor, "N M 2"]:
    """The other two corners of every triangle around a vertex, in its order; -1 padded, int32."""
    return kept_with(faces, ("around", vertices), lambda: _around(faces, vertices))


def _around(faces: Int[Tensor, "F 3"], vertices: int) -> Int[Tensor, "N M 2"]:
    corner = faces.long()
    own = corner.flatten()
    order = own.argsort(stable=True)
    counts = torch.bincount(own, minlength=vertices)
    start = counts.cumsum(0) - counts
    slot = torch.arange(len(own), device=faces.device) - start[own[order]]
    others = torch.stack([corner.roll(-1, 1), corner.roll(-2, 1)], -1).flatten(0, 1)
    most = max(1, int(counts.max())) if len(own) else 1
    table = torch.full((vertices, most, 2), -1, dtype=torch.int32, device=faces.device)
    table[own[order], slot] = others[order].int()
    return table


def cuda_vertex_normals(
    vertices: Float[Tensor, "*B N 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "*B N 3"]:
    """`geometry.mesh.vertex_normals` on CUDA."""
    return _Normals.apply(vertices, faces)


class _Normals(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor) -> Tensor:
        vertices = vertices.contiguous()
        count = vertices.shape[-2]
        around = around_vertices(faces, count)
        sums, out = torch.empty_like(vertices), torch.empty_like(vertices)
        grid, shape = _lanes(vertices, around)
        kernels.unit_normals[grid](vertices, around, sums, out, count, **shape)
        ctx.save_for_backward(vertices, faces, sums, around)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):  # type: ignore[override]
        vertices, faces, sums, around = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(gathered_vertex_normals, faces=faces)
            return plain_backward(plain, (vertices,), (True,), grad)[0], None
        count = vertices.shape[-2]
        out = torch.empty_like(vertices)
        grid, shape = _lanes(vertices, around)
        kernels.unit_normals_backward[grid](
            vertices, around, sums, grad.contiguous(), out, count, **shape
        )
        return out, None


def _lanes(vertices: Tensor, around: Tensor) -> tuple[tuple[int, int], dict[str, int]]:
    """Programs, and the shape of one: 256 lanes, of which 8 or fewer serve a vertex (most have six triangles)."""
    most = around.shape[1]
    wide = min(8, 1 << (most - 1).bit_length())
    block = width_of(256 // wide)
    programs = (*blocks(vertices.shape[-2], block), math.prod(vertices.shape[:-2]))
    return programs, {"AROUND": most, "WIDE": wide, "BLOCK": block}


def cuda_rows(
    values: Float[Tensor, "*B M C"], index: Int[Tensor, "N K"], weights: Float[Tensor, "N K"]
) -> Float[Tensor, "*B N C"]:
    """Weighted sums of rows of `values`, of which `index` names K per result; constant weights."""
    stacked = values.reshape(-1, *values.shape[-2:])
    out = _Rows.apply(stacked, index, weights)
    return out.reshape(*values.shape[:-2], *out.shape[1:])


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        values, index, weights = values.contiguous(), index.contiguous(), weights.contiguous()
        batch, size, channels = values.shape
        count, taps = index.shape
        out = torch.empty((batch, count, channels), dtype=values.dtype, device=values.device)
        block = width_of(128)
        if out.numel():
            kernels.rows[(*blocks(count, block), batch)](
                values, index, weights, out, count, size, K=taps, C=channels, BLOCK=block
            )
        ctx.save_for_backward(values, index, weights)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):  # type: ignore[override]
        values, index, weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(plain_rows, index=index, weights=weights)
            return plain_backward(plain, (values,), (True,), grad)[0], None, None
        batch, size, channels = values.shape
        wide = 1 << (channels - 1).bit_length()
        out = values.new_zeros(batch, size, wide)
        block = width_of(128)
        if grad.numel():
            kernels.rows_backward[(*blocks(len(index), block), batch)](
                grad.contiguous(), index, weights, out, len(index), size,
                K=index.shape[1], C=channels, WIDE=wide, BLOCK=block,
            )  # fmt: skip
        return out[..., :channels], None, None


def cuda_project(
    x_world: Float[Tensor, "T N 3"],
    frame: Int[Tensor, "V"],
    K: Float[Tensor, "V 3 3"],
    T_cam_world: Float[Tensor, "V 4 4"],
) -> Float[Tensor, "V N 3"]:
    """Points of each view's frame as x, y px and camera depth mm; cameras are constants."""
    return _Project.apply(x_world, frame.to(x_world.device), K, T_cam_world)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_world: Tensor, frame: Tensor, K: Tensor, T: Tensor) -> Tensor:
        x_world, frame, K, T = (x.contiguous() for x in (x_world, frame, K, T))
        count = x_world.shape[1]
        out = torch.empty((len(K), count, 3), dtype=x_world.dtype, device=x_world.device)
        block = width_of(128)
        kernels.project[(*blocks(count, block), len(K))](
            x_world, frame, K, T, out, count, BLOCK=block
        )
        ctx.save_for_backward(x_world, frame, K, T)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):  # type: ignore[override]
        x_world, frame, K, T = ctx.saved_tensors
        if torch.is_grad_enabled():
            found = plain_backward(
                lambda x: project_views(x[frame], K, T), (x_world,), (True,), grad
            )
            return *found, None, None, None
        out = torch.empty_like(x_world)
        count, block = x_world.shape[1], width_of(128)
        kernels.project_backward[(*blocks(count, block), len(x_world))](
            x_world, frame, K, T, grad.contiguous(), out, count, len(K), BLOCK=block
        )
        return out, None, None, None
