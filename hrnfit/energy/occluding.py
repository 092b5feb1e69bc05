"""The occluding contour of a mesh in an image: edges between a front- and a back-facing triangle.

A face-only mesh also ends on the head, at the neck cut and the hair line. Such open boundary edges are
no contour of the person and never count. Window pixels, y down; nothing here knows a mask.
"""

# torch and scipy are untyped in places; strict mode would report them, not this file.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.kept import kept_with


class MeshEdges(NamedTuple):
    """Edges of a topology by the number of triangles they bound."""

    inner: Int[Tensor, "E 2"]
    """Vertices of the edges between two triangles."""
    inner_faces: Int[Tensor, "E 2"]
    """The two triangles."""
    inner_opposite: Int[Tensor, "E 2"]
    """The corner of each triangle that is not on the edge."""
    open: Int[Tensor, "B 2"]
    """Vertices of the edges that bound one triangle only: where the mesh ends."""


class Silhouette(NamedTuple):
    """Vertices of the occluding contour."""

    mask: Bool[Tensor, "V N"]
    """Whether the vertex lies on an edge of the contour."""
    outward: Float[Tensor, "V N 2"]
    """Unit normal of the contour in the image, away from the surface; 0 off the contour. Detached."""


def mesh_edges(faces: Int[Tensor, "F 3"]) -> MeshEdges:
    """Edges between two triangles, and open edges. An edge of three or more triangles is left out."""
    triangles = faces.long()
    n_faces = len(triangles)
    ends = torch.cat([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    opposite = torch.cat([triangles[:, (i + 2) % 3] for i in range(3)])
    owner = torch.arange(n_faces, device=faces.device).repeat(3)
    low_high = ends.sort(dim=1).values
    key = low_high[:, 0] * (triangles.max() + 1) + low_high[:, 1]
    order = key.argsort(stable=True)
    key = key[order]
    _, count = key.unique_consecutive(return_counts=True)
    first = count.cumsum(0) - count
    pair, single = order[first[count == 2]], order[first[count == 1]]
    twin = order[first[count == 2] + 1]
    return MeshEdges(
        inner=ends[pair],
        inner_faces=torch.stack((owner[pair], owner[twin]), 1),
        inner_opposite=torch.stack((opposite[pair], opposite[twin]), 1),
        open=ends[single],
    )


def edges_of(faces: Int[Tensor, "F 3"]) -> MeshEdges:
    """`mesh_edges`, computed once per faces tensor."""
    return kept_with(faces, "edges", lambda: mesh_edges(faces))


def front_facing(points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"]) -> Bool[Tensor, "V F"]:
    """Triangles seen from outside: counter-clockwise in space is clockwise on a y-down image's axes,
    so their signed area in (x, y) is negative."""
    corner = points[:, faces.long(), :2].detach()
    a, b = corner[:, :, 1] - corner[:, :, 0], corner[:, :, 2] - corner[:, :, 0]
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0] < 0


def silhouette(points: Float[Tensor, "V N 3"], faces: Int[Tensor, "F 3"]) -> Silhouette:
    """Vertices on edges where the surface turns away, and which way is outside.

    Self-occluded contours (a nose before its cheek) are included: `uncovered` tells them apart.
    """
    edges = edges_of(faces)
    front = front_facing(points, faces)[:, edges.inner_faces]
    turns = front[..., 0] != front[..., 1]
    xy = points[..., :2].detach()
    start, stop = xy[:, edges.inner[:, 0]], xy[:, edges.inner[:, 1]]
    direction = stop - start
    normal = torch.stack((-direction[..., 1], direction[..., 0]), -1)
    seen = torch.where(front[..., 0], edges.inner_opposite[:, 0], edges.inner_opposite[:, 1])
    inside = xy.gather(1, seen[..., None].expand(-1, -1, 2)) - start
    away = -(normal * inside).sum(-1, keepdim=True).sign() * normal * turns[..., None]
    mask = torch.zeros(xy.shape[:2], dtype=xy.dtype, device=xy.device)
    outward = torch.zeros_like(xy)
    for end in edges.inner.unbind(1):
        mask = mask.index_add(1, end, turns.to(xy.dtype))
        outward = outward.index_add(1, end, away)
    length = outward.norm(dim=-1, keepdim=True)
    outward = outward / torch.where(length > 0, length, torch.ones_like(length))
    return Silhouette(mask > 0, outward)


def uncovered(
    covered: Bool[Tensor, "V S S"],
    points: Float[Tensor, "V N 3"],
    outward: Float[Tensor, "V N 2"],
    step: float = 2.0,
) -> Bool[Tensor, "V N"]:
    """Whether the pixel `step` px outward of a contour point shows no part of the mesh.

    False for self-occluded contours and for points outside the window. Two pixels clear the raster's
    own rounding (one) without jumping over the gap beside a nose.
    """
    size = covered.shape[-1]
    probe = (points[..., :2].detach() + step * outward).floor().long()
    inside = ((probe >= 0) & (probe < size)).all(-1)
    probe = probe.clamp(0, size - 1)
    flat = probe[..., 1] * size + probe[..., 0]
    return inside & ~covered.flatten(1).gather(1, flat)
