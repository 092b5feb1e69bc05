"""Antialiasing on CUDA as a `torch.autograd.Function`: see `cuda_silhouette_kernels` for the law.

Memory besides results, per view: one byte an edge, and 8 bytes an edge for the queue of silhouettes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry.launched import blocks, persistent, width_of
from hrnfit.render import cuda_silhouette_kernels
from hrnfit.render.reference import LONGEST_WALK, plain_blend
from hrnfit.render.silhouette import edge_topology

LANES = 64
"""Crossings that a program takes at a time."""


@dataclass(frozen=True)
class EdgeTables:
    """`EdgeTopology` on the device."""

    vertices: Tensor
    """(E, 2) int32, lower index first."""
    triangles: Tensor
    """(E, 2) int32, the second -1 at a boundary."""
    agree: Tensor
    """(E,) int8: whether both triangles run through the edge in opposite directions."""
    triangle_edges: Tensor
    """(F, 3) int32, the edge opposite each corner."""


def edge_tables(faces: Tensor) -> EdgeTables:
    """Edges of the triangles (F, 3), built on the host: once per topology."""
    made = edge_topology(faces.cpu().numpy())
    arrays = (made.vertices, made.triangles, made.agree.astype("int8"), made.triangle_edges)
    return EdgeTables(*(torch.from_numpy(a).contiguous().to(faces.device) for a in arrays))


class Antialias(torch.autograd.Function):
    """`image` (V, H, W, C) blended across the silhouettes of `points` (V, N, 3)."""

    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        points: Tensor,
        faces: Tensor,
        triangle: Tensor,
        depth: Tensor,
        tables: EdgeTables,
    ) -> Tensor:
        out = image.clone()
        silhouette, counter, queue = _silhouettes(points, faces, tables, triangle)
        saved = (image, points, triangle, depth, silhouette, counter, queue)
        ctx.save_for_backward(*saved)
        ctx.tables = tables
        if out.numel() and len(faces):
            cuda_silhouette_kernels.blend[(persistent(image.device),)](
                *_search(saved, tables), image, out, *_sizes(saved, tables), image.shape[-1],
                LONGEST=LONGEST_WALK, BLOCK=width_of(LANES), num_warps=2, enable_fp_fusion=False,
            )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        saved, tables = ctx.saved_tensors, ctx.tables
        image, points, *_ = saved
        if torch.is_grad_enabled():
            plain = partial(_plain_antialias, pairs=_pairs(saved, tables))
            found = plain_backward(plain, (image, points), ctx.needs_input_grad[:2], grad)
            return *found, None, None, None, None
        grad = grad.contiguous()
        image_grad = grad.clone()
        to_points = ctx.needs_input_grad[1]
        points_grad = torch.zeros_like(points) if to_points else points  # not touched
        if grad.numel() and len(tables.triangle_edges):
            cuda_silhouette_kernels.blend_backward[(persistent(image.device),)](
                *_search(saved, tables), image, grad, image_grad, points_grad,
                *_sizes(saved, tables), image.shape[-1],
                TO_POINTS=to_points, LONGEST=LONGEST_WALK, BLOCK=width_of(LANES), num_warps=2,
                enable_fp_fusion=False,
            )  # fmt: skip
        return image_grad, points_grad if to_points else None, None, None, None, None


def _silhouettes(
    points: Tensor, faces: Tensor, tables: EdgeTables, triangle: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Marks (V, E), the counter of rows and queued edges, and the queue (2, V * E)."""
    views, edges = len(points), len(tables.vertices)
    silhouette = torch.empty((views, edges), dtype=torch.int8, device=points.device)
    counter = torch.zeros(1, dtype=torch.int64, device=points.device)
    queue = torch.empty((2, views * edges), dtype=torch.int32, device=points.device)
    if silhouette.numel():
        block = width_of(64)
        cuda_silhouette_kernels.find[(*blocks(edges, block), views)](
            points, faces, tables.vertices, tables.triangles, tables.agree, silhouette,
            counter, queue[0], queue[1], edges, points.shape[1], *triangle.shape[1:],
            BLOCK=block, num_warps=2, enable_fp_fusion=False,
        )  # fmt: skip
    return silhouette, counter, queue


def _search(saved: tuple[Tensor, ...], edges: EdgeTables) -> tuple[Tensor, ...]:
    """What a kernel needs to find the pairs."""
    _, points, triangle, depth, silhouette, counter, queue = saved
    return (
        points, edges.vertices, edges.triangles, edges.triangle_edges, silhouette, triangle, depth,
        counter, queue[0], queue[1],
    )  # fmt: skip


def _sizes(saved: tuple[Tensor, ...], edges: EdgeTables) -> tuple[int, ...]:
    """Edges, vertices, height, width."""
    image, points, *_ = saved
    return len(edges.vertices), points.shape[1], image.shape[1], image.shape[2]


def _pairs(saved: tuple[Tensor, ...], tables: EdgeTables) -> list[Tensor]:
    """Per view, rows of (pixel on the surface, pixel beyond, edge ends a and b, axis)."""
    image, *_ = saved
    views, height, width = image.shape[:3]
    partner = torch.zeros((views, height * width, 2, 2), dtype=torch.int32, device=image.device)
    if partner.numel() and len(tables.triangle_edges):
        cuda_silhouette_kernels.list_pairs[(persistent(image.device),)](
            *_search(saved, tables), partner, *_sizes(saved, tables),
            LONGEST=LONGEST_WALK, BLOCK=width_of(LANES), num_warps=2, enable_fp_fusion=False,
        )  # fmt: skip
    lists = []
    for found in partner:
        p, axis, after = found.nonzero().unbind(1)
        beyond = p + (2 * after - 1) * torch.where(axis == 0, 1, width)
        ends = tables.vertices[found[p, axis, after].long() - 1].long()
        lists.append(torch.stack([p, beyond, *ends.unbind(1), axis], 1))
    return lists


def _plain_antialias(image: Tensor, points: Tensor, pairs: list[Tensor]) -> Tensor:
    """`Antialias` in plain torch, for silhouettes that were found before."""
    width, channels = image.shape[2:]
    blended = [
        plain_blend(flat.reshape(-1, channels), own, found, width)
        for flat, own, found in zip(image, points, pairs, strict=True)
    ]
    return torch.stack(blended).view_as(image)
