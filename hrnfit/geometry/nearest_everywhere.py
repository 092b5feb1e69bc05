"""Nearest points of a triangle mesh by looking at every triangle: what a GPU is fast at.

2,500 points and 22,000 triangles are 55 million tests, which need no tree and no host. The triangle is
chosen in float32 (`nearest_triton.py`, or plain torch without Triton); the point on it is then found in
float64. Where triangles tie within float32, at shared edges and corners, either may be named: the point
is the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.geometry.nearest import NearestPoints

TESTS_AT_ONCE = 4_000_000
"""Point-triangle tests whose intermediate values plain torch holds at a time: about 0.5 GB in float32."""


class EveryTriangle:
    """A mesh on any device that is asked for nearest points; answers lie there too, in float64."""

    def __init__(self, vertices: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> None:
        if len(faces) == 0:
            raise ValueError("mesh: expected at least one triangle")
        self._corners = vertices.detach().double()[faces.long()]
        self._single = self._corners.float()

    def nearest(self, points: Float[Tensor, "P 3"]) -> NearestPoints:
        """Nearest points, without waiting for the device."""
        asked = points.detach().to(self._corners)
        triangle = nearest_triangles(asked.float(), self._single)
        corners = self._corners[triangle]
        square, weights = nearest_on(asked, corners)
        found = (weights[..., None] * corners).sum(-2)
        return NearestPoints(triangle, weights, found, square.sqrt())


def nearest_triangles(
    points: Float[Tensor, "P 3"], corners: Float[Tensor, "F 3 3"]
) -> Int[Tensor, "P"]:
    """Index of the nearest triangle to each point: Triton on CUDA where it is there, else plain torch."""
    if has_kernels(points.device):
        from hrnfit.geometry.nearest_triton import nearest_triangles_triton  # local: triton

        return nearest_triangles_triton(points, corners)
    return nearest_triangles_plain(points, corners)


def nearest_triangles_plain(
    points: Float[Tensor, "P 3"], corners: Float[Tensor, "F 3 3"]
) -> Int[Tensor, "P"]:
    """The same in plain torch, some points at a time."""
    some = max(1, TESTS_AT_ONCE // len(corners))
    found = [nearest_on(p[:, None], corners)[0].argmin(1) for p in points.split(some)]
    return torch.cat(found) if found else points.new_zeros(0, dtype=torch.int64)


def nearest_on(
    points: Float[Tensor, "*#B 3"], corners: Float[Tensor, "*#B 3 3"]
) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B 3"]]:
    """Squared distance to triangles, and the barycentrics of the nearest point.

    The foot of the perpendicular where it falls inside, else the nearest point of the three edges.
    """
    a = corners[..., 0, :]
    b, c, p = corners[..., 1, :] - a, corners[..., 2, :] - a, points - a
    bb, bc, cc = (b * b).sum(-1), (b * c).sum(-1), (c * c).sum(-1)
    pb, pc = (p * b).sum(-1), (p * c).sum(-1)
    area = bb * cc - bc * bc
    safe = torch.where(area > 0, area, torch.ones_like(area))
    v, w = (cc * pb - bc * pc) / safe, (bb * pc - bc * pb) / safe
    inside = (area > 0) & (v >= 0) & (w >= 0) & (v + w <= 1)
    along = bb - 2.0 * bc + cc
    zero = torch.zeros_like(v)
    at_b, at_c = _share(pb, bb), _share(pc, cc)
    at_far = _share(pc - pb + bb - bc, along)
    places = ((at_b, zero), (zero, at_c), (1.0 - at_far, at_far))
    best, at_v, at_w = torch.full_like(v, torch.inf), zero, zero
    for there_v, there_w in places:
        square = _square(p, b, c, there_v, there_w)
        nearer = square < best
        best = torch.where(nearer, square, best)
        at_v, at_w = torch.where(nearer, there_v, at_v), torch.where(nearer, there_w, at_w)
    best = torch.where(inside, _square(p, b, c, v, w), best)
    at_v, at_w = torch.where(inside, v, at_v), torch.where(inside, w, at_w)
    return best, torch.stack([1.0 - at_v - at_w, at_v, at_w], -1)


def _share(rise: Tensor, length: Tensor) -> Tensor:
    """Where along an edge the nearest point lies, 0..1; 0 on an edge without length."""
    safe = torch.where(length > 0, length, torch.ones_like(length))
    return torch.where(length > 0, rise / safe, torch.zeros_like(rise)).clamp(0.0, 1.0)


def _square(p: Tensor, b: Tensor, c: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return (p - v[..., None] * b - w[..., None] * c).square().sum(-1)
