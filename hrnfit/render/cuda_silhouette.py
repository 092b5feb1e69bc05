"""Antialiasing on CUDA as a `torch.autograd.Function`: see `cuda_silhouette_kernels` for the law.

Memory besides results, per view: one byte an edge, 8 bytes an edge for the queue of silhouettes, and where there will
be a derivative 16 bytes a pixel for the pairs that blend.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrnfit.derivative import plain_backward
from hrnfit.geometry.launched import blocks, persistent, width_of
from hrnfit.render import cuda_blend_kernels, cuda_silhouette_kernels
from hrnfit.render.cuda_autograd import wide
from hrnfit.render.reference import LONGEST_WALK, plain_blend
from hrnfit.render.silhouette import edge_topology

LANES = 32
"""Crossings that a program takes at a time: one warp, so that a walk waits for 31 others only."""
EXACT = {"num_warps": 1, "enable_fp_fusion": False}
"""One warp; pairs are found by the CPU's own roundings."""
PROGRAMS = 16
"""Per processor: as many warps as hide the walks' latency."""


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
    across: Tensor
    """(F, 3) int32, the triangle beyond that edge; whatever where there is none."""


def edge_tables(faces: Tensor) -> EdgeTables:
    """Edges of the triangles (F, 3), built on the host: once per topology."""
    made = edge_topology(faces.cpu().numpy())
    own = np.arange(len(made.triangle_edges), dtype=np.int32)[:, None]
    across = made.triangles.sum(1, dtype=np.int32)[made.triangle_edges] - own
    agree = made.agree.astype("int8")
    arrays = (made.vertices, made.triangles, agree, made.triangle_edges, across)
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
        silhouette, counters, queue = _silhouettes(points, faces, tables, triangle)
        pairs = 2 * triangle.numel() if any(ctx.needs_input_grad) else 0
        listed = torch.empty((pairs, 2), dtype=torch.int32, device=image.device)
        saved = (image, points, triangle, depth, counters, listed)
        ctx.save_for_backward(*saved)
        ctx.tables = tables
        if out.numel() and len(faces):
            cuda_blend_kernels.blend[(persistent(image.device, PROGRAMS),)](
                points, faces, tables.vertices, tables.triangle_edges, tables.across, silhouette,
                triangle, depth, counters, *queue, listed, pairs, image, out,
                *_sizes(image, points, tables), image.shape[-1], LONGEST=LONGEST_WALK,
                WIDE=wide(image.shape[-1]), BLOCK=width_of(LANES), **EXACT,
            )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        saved, tables = ctx.saved_tensors, ctx.tables
        image, points, triangle, depth, counters, listed = saved
        if torch.is_grad_enabled():
            plain = partial(_plain_antialias, pairs=_pairs(saved, tables))
            found = plain_backward(plain, (image, points), ctx.needs_input_grad[:2], grad)
            return *found, None, None, None, None
        grad = grad.contiguous()
        image_grad = grad.clone()
        to_points = ctx.needs_input_grad[1]
        points_grad = torch.zeros_like(points) if to_points else points  # not touched
        if grad.numel() and len(tables.triangle_edges):
            cuda_blend_kernels.blend_backward[(persistent(image.device, PROGRAMS),)](
                points, tables.vertices, triangle, depth, counters, listed, image, grad,
                image_grad, points_grad, *_sizes(image, points, tables), image.shape[-1],
                TO_POINTS=to_points, WIDE=wide(image.shape[-1]), BLOCK=width_of(LANES), **EXACT,
            )  # fmt: skip
        return image_grad, points_grad if to_points else None, None, None, None, None


def _silhouettes(
    points: Tensor, faces: Tensor, tables: EdgeTables, triangle: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Marks (V, E), the counters, and the queue (2, V * E)."""
    views, edges = len(points), len(tables.vertices)
    silhouette = torch.empty((views, edges), dtype=torch.int8, device=points.device)
    counters = torch.zeros(2, dtype=torch.int64, device=points.device)
    queue = torch.empty((2, views * edges), dtype=torch.int32, device=points.device)
    if silhouette.numel():
        block = width_of(64)
        cuda_silhouette_kernels.find[(*blocks(edges, block), views)](
            points, faces, tables.vertices, tables.triangles, tables.agree, silhouette,
            counters, *queue, edges, points.shape[1], *triangle.shape[1:],
            BLOCK=block, num_warps=2, enable_fp_fusion=False,
        )  # fmt: skip
    return silhouette, counters, queue


def _sizes(image: Tensor, points: Tensor, edges: EdgeTables) -> tuple[int, ...]:
    """Edges, vertices, height, width."""
    return len(edges.vertices), points.shape[1], image.shape[1], image.shape[2]


def _pairs(saved: tuple[Tensor, ...], tables: EdgeTables) -> list[Tensor]:
    """Per view, rows of (pixel on the surface, pixel beyond, edge ends a and b, axis)."""
    image, points, triangle, depth, counters, listed = saved
    views, height, width = image.shape[:3]
    partner = torch.zeros((views, height * width, 2, 2), dtype=torch.int32, device=image.device)
    if partner.numel() and len(tables.triangle_edges):
        cuda_blend_kernels.partners[(persistent(image.device, PROGRAMS),)](
            points, tables.vertices, triangle, depth, counters, listed, partner,
            *_sizes(image, points, tables), BLOCK=width_of(LANES), **EXACT,
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
