"""Shading on the CPU as `torch.autograd.Function`s: dense torch makes nine values per pixel and
keeps them for the backward pass, which took most of a whole iteration."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry import compiled, mesh_kernels
from hrnfit.render import cpu_shade_kernels
from hrnfit.render.cpu_autograd import array_of, by_rows, sum_by_rows
from hrnfit.render.shade import plain_normalize, plain_shade


class Shade(torch.autograd.Function):
    """Irradiance of normals (V, P, 3) under light (V, 9, 3)."""

    @staticmethod
    def forward(ctx: Any, normals: Tensor, light: Tensor, constants: tuple[float, ...]) -> Tensor:
        out = torch.empty(normals.shape, dtype=normals.dtype)
        n, s, o = array_of(normals), array_of(light), out.numpy()

        def work(view: int, first: int, end: int) -> None:
            cpu_shade_kernels.shade(n[view], s[view], first, end, constants, o[view])

        by_rows(normals.shape[0], normals.shape[1], work)
        ctx.save_for_backward(normals, light)
        ctx.constants = constants
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        normals, light = ctx.saved_tensors
        if torch.is_grad_enabled():
            found = plain_backward(plain_shade, (normals, light), ctx.needs_input_grad[:2], grad)
            return *found, None
        n, s, g = array_of(normals), array_of(light), array_of(grad)
        normals_grad = torch.zeros(normals.shape, dtype=normals.dtype)
        o = normals_grad.numpy()

        def work(view: int, first: int, end: int, out: Any) -> None:
            cpu_shade_kernels.shade_backward(
                n[view], s[view], g[view], first, end, ctx.constants, o[view], out
            )

        views, rows = normals.shape[:2]
        return normals_grad, sum_by_rows(views, rows, (9, 3), False, light, work), None


class Normalize(torch.autograd.Function):
    """Unit vectors of (P, 3); zero stays zero."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        out = torch.empty(vectors.shape, dtype=vectors.dtype)
        v, o = array_of(vectors), out.numpy()
        _by_parts(len(v), lambda part: mesh_kernels.unit(v[part], o[part]))
        ctx.save_for_backward(vectors)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor | None:
        (vectors,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return plain_backward(plain_normalize, (vectors,), (True,), grad)[0]
        out = torch.empty(vectors.shape, dtype=vectors.dtype)
        v, g, o = array_of(vectors), array_of(grad), out.numpy()
        _by_parts(len(v), lambda part: mesh_kernels.unit_backward(v[part], g[part], o[part]))
        return out


def _by_parts(rows: int, work: Any) -> None:
    """`work(slice)` over equal shares of the rows."""
    if rows:
        shares = compiled.row_pieces(1, rows)
        compiled.run([partial(work, slice(first, end)) for ((_, first, end),) in shares])
