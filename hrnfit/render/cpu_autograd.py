"""The four operations as `torch.autograd.Function`s over compiled loops, on all of torch's threads.

Sums are taken in a fixed order, so a result is bitwise the same for the same number of threads.
Only pixels that a triangle covers cost time, forward and backward. A derivative that will itself be
differentiated is that of the reference's formulas, for the triangles and silhouettes found here.
Arguments are trusted: `cpu.py` checks them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry import compiled
from hrnfit.render import cpu_kernels, cpu_silhouette_kernels, cpu_texture_kernels
from hrnfit.render.rasterizer import Raster
from hrnfit.render.reference import (
    ReferenceRasterizer,
    plain_barycentrics,
    plain_blend,
    plain_interpolate,
)
from hrnfit.render.silhouette import EdgeTopology


def array_of(tensor: Tensor) -> np.ndarray:
    """The tensor's memory as a contiguous array."""
    return tensor.detach().contiguous().numpy()


def by_rows(views: int, rows: int, work: Callable[[int, int, int], None]) -> None:
    """`work(view, first row, end row)` over equal shares of the rows."""

    def share(pieces: list[tuple[int, int, int]]) -> None:
        for view, first, end in pieces:
            work(view, first, end)

    compiled.run([partial(share, pieces) for pieces in compiled.row_pieces(views, rows)])


def sum_by_rows(
    views: int,
    rows: int,
    shape: tuple[int, ...],
    shared: bool,
    like: Tensor,
    work: Callable[[int, int, int, np.ndarray], None],
) -> Tensor:
    """`work(view, first row, end row, sum)` adds into (V, *shape), or (1, *shape) when shared.

    A thread that comes second to a sum adds to a buffer of its own; buffers are added in order.
    """
    shares = compiled.row_pieces(views, rows)
    owners: list[int] = []  # sum that each slot belongs to; the first slots are the sums themselves
    slots: list[list[int]] = []
    n_sums = 1 if shared else views
    taken: set[int] = set()
    for pieces in shares:
        mine: dict[int, int] = {}
        for view, _, _ in pieces:
            target = 0 if shared else view
            if target not in mine:
                if target in taken:
                    mine[target] = n_sums + len(owners)
                    owners.append(target)
                else:
                    mine[target] = target
                    taken.add(target)
        slots.append([mine[0 if shared else view] for view, _, _ in pieces])
    out = torch.zeros((n_sums + len(owners), *shape), dtype=like.dtype)
    buffers = out.numpy()

    def share(pieces: list[tuple[int, int, int]], slot: list[int]) -> None:
        for (view, first, end), s in zip(pieces, slot, strict=True):
            work(view, first, end, buffers[s])

    compiled.run([partial(share, *both) for both in zip(shares, slots, strict=True)])
    for extra, owner in enumerate(owners):
        out[owner] += out[n_sums + extra]
    return out[:n_sums]


class Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, faces: Tensor, height: int, width: int):
        views = points.shape[0]
        triangle = torch.empty((views, height, width), dtype=torch.int32)
        depth = torch.empty((views, height, width), dtype=points.dtype)
        barycentric = torch.zeros((views, height, width, 3), dtype=points.dtype)
        p, f = array_of(points), array_of(faces)
        t, d, b = triangle.numpy(), depth.numpy(), barycentric.numpy()

        def work(view: int, first: int, end: int) -> None:
            cpu_kernels.z_buffer(p[view], f, first, end, t[view], d[view])
            cpu_kernels.barycentrics(p[view], f, first, end, t[view], b[view], d[view])

        by_rows(views, height, work)
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
        p, f, t, g = array_of(points), array_of(faces), array_of(triangle), array_of(grad)

        def work(view: int, first: int, end: int, out: np.ndarray) -> None:
            cpu_kernels.barycentrics_backward(p[view], f, first, end, t[view], g[view], out)

        views, height = triangle.shape[:2]
        shape = tuple(points.shape[1:])
        return sum_by_rows(views, height, shape, False, points, work), None, None, None


class Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, attributes: Tensor, barycentric: Tensor, triangle: Tensor, faces: Tensor
    ) -> Tensor:
        views, height = triangle.shape[:2]
        out = torch.zeros((*triangle.shape, attributes.shape[-1]), dtype=attributes.dtype)
        a, b, t = array_of(attributes), array_of(barycentric), array_of(triangle)
        f, o = array_of(faces), out.numpy()

        def work(view: int, first: int, end: int) -> None:
            row = view if len(a) > 1 else 0
            cpu_kernels.interpolate(a[row], f, first, end, t[view], b[view], o[view])

        by_rows(views, height, work)
        ctx.save_for_backward(attributes, barycentric, triangle, faces)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        attributes, barycentric, triangle, faces = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(plain_interpolate, triangle=triangle, faces=faces)
            inputs, needed = (attributes, barycentric), ctx.needs_input_grad[:2]
            return *plain_backward(plain, inputs, needed, grad), None, None
        views, height = triangle.shape[:2]
        a, b, t = array_of(attributes), array_of(barycentric), array_of(triangle)
        f, g = array_of(faces), array_of(grad)
        a_grad = b_grad = None
        if ctx.needs_input_grad[0]:

            def scatter(view: int, first: int, end: int, out: np.ndarray) -> None:
                cpu_kernels.interpolate_backward_attributes(
                    g[view], f, first, end, t[view], b[view], out
                )

            shape = tuple(attributes.shape[1:])
            a_grad = sum_by_rows(views, height, shape, len(a) == 1, attributes, scatter)
        if ctx.needs_input_grad[1]:
            b_grad = torch.zeros_like(barycentric, memory_format=torch.contiguous_format)
            o = b_grad.numpy()

            def dot(view: int, first: int, end: int) -> None:
                row = view if len(a) > 1 else 0
                cpu_kernels.interpolate_backward_barycentric(
                    g[view], a[row], f, first, end, t[view], o[view]
                )

            by_rows(views, height, dot)
        return a_grad, b_grad, None, None


class SampleTexture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, texture: Tensor, uv: Tensor) -> Tensor:
        views, height = uv.shape[:2]
        out = torch.empty((*uv.shape[:-1], texture.shape[-1]), dtype=texture.dtype)
        t, c, o = array_of(texture), array_of(uv), out.numpy()

        def work(view: int, first: int, end: int) -> None:
            row = view if len(t) > 1 else 0
            cpu_texture_kernels.sample(t[row], c[view], first, end, o[view])

        by_rows(views, height, work)
        ctx.save_for_backward(texture, uv)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        texture, uv = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = ReferenceRasterizer().sample_texture
            return plain_backward(plain, (texture, uv), ctx.needs_input_grad, grad)
        views, height = uv.shape[:2]
        t, c, g = array_of(texture), array_of(uv), array_of(grad)
        want_texture, want_uv = ctx.needs_input_grad
        uv_grad = torch.zeros(uv.shape if want_uv else (views, 1, 1, 2), dtype=uv.dtype)
        o = uv_grad.numpy()

        def work(view: int, first: int, end: int, out: np.ndarray) -> None:
            row = view if len(t) > 1 else 0
            cpu_texture_kernels.sample_backward(
                t[row], c[view], g[view], first, end, want_texture, want_uv, out, o[view]
            )

        shape = tuple(texture.shape[1:]) if want_texture else (1, 1, 1)
        texture_grad = sum_by_rows(views, height, shape, len(t) == 1, texture, work)
        return texture_grad if want_texture else None, uv_grad if want_uv else None


class Antialias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, points: Tensor, faces: Tensor, raster: Raster, edges: EdgeTopology
    ) -> Tensor:
        out = image.detach().clone(memory_format=torch.contiguous_format)
        views, _, width, channels = image.shape
        p, f, i = array_of(points), array_of(faces), array_of(image).reshape(views, -1, channels)
        t, d = array_of(raster.triangle), array_of(raster.depth)
        o = out.numpy().reshape(views, -1, channels)
        items: list[np.ndarray] = [np.empty((0, 5), np.int32)] * views

        def work(view: int, _first: int, _end: int) -> None:
            items[view] = cpu_silhouette_kernels.find(
                p[view], f, edges.vertices, edges.triangles, edges.agree, edges.triangle_edges,
                t[view], d[view],
            )  # fmt: skip
            cpu_silhouette_kernels.blend(p[view], i[view], items[view], width, o[view])

        by_rows(views, 1, work)
        ctx.save_for_backward(image, points)
        ctx.items = items
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        image, points = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(_plain_antialias, items=ctx.items)
            found = plain_backward(plain, (image, points), ctx.needs_input_grad[:2], grad)
            return *found, None, None, None
        views, _, width, channels = image.shape
        p, i = array_of(points), array_of(image).reshape(views, -1, channels)
        g = array_of(grad).reshape(views, -1, channels)
        image_grad = grad.clone(memory_format=torch.contiguous_format)
        points_grad = torch.zeros(points.shape, dtype=points.dtype)
        io, po = image_grad.numpy().reshape(views, -1, channels), points_grad.numpy()

        def work(view: int, _first: int, _end: int) -> None:
            cpu_silhouette_kernels.blend_backward(
                p[view], i[view], ctx.items[view], width, g[view], io[view], po[view]
            )

        by_rows(views, 1, work)
        return image_grad, points_grad, None, None, None


def _plain_antialias(image: Tensor, points: Tensor, items: list[np.ndarray]) -> Tensor:
    """`Antialias` in plain torch, for silhouettes that were found before."""
    width, channels = image.shape[2:]
    blended = [
        plain_blend(flat.reshape(-1, channels), own, torch.from_numpy(pairs).long(), width)
        for flat, own, pairs in zip(image, points, items, strict=True)
    ]
    return torch.stack(blended).view_as(image)
