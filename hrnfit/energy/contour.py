"""Contour-aware loss: the outline of the model lies on the outline of the face mask.

Two forms. Row-wise, HRN eq. 1-2: every vertex against the left and right mask edge of its pixel row;
made for upright frontal faces. Nearest-edge, for heads turned any way: vertices of the occluding
contour against the nearest mask edge along its normal, and vertices outside the mask pulled in.
Mask edges made by the border of the photograph are no edges of the face and are left out.
"""

# torch and scipy are untyped in places; strict mode would report them, not this file.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.ndimage
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.derivative import held
from hrnfit.energy.occluding import silhouette, uncovered
from hrnfit.energy.term import Prediction, Residuals
from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.observe.observation import WorkingViews

VISIBLY_WRONG = 2.0
"""Offset at the face's depth, mm, that makes a residual of 1."""


class MaskEdges(NamedTuple):
    """Per pixel of a window, the mask edge nearest to its centre."""

    point: Float[Tensor, "V S S 2"]
    """Sub-pixel position of that edge, px."""
    normal: Float[Tensor, "V S S 2"]
    """Unit normal of the mask there, pointing out of the mask."""
    valid: Bool[Tensor, "V S S"]
    """False where the nearest edge comes from the border of the photograph, or there is none; and
    beyond the photograph, where nobody knows whether the face goes on."""


def row_edges(
    masks: Float[Tensor, "V S S"], inside: Bool[Tensor, "V S S"]
) -> Float[Tensor, "V S 2"]:
    """x of the first and the last mask edge in each row, px, at the sub-pixel crossing of 0.5.

    A side whose mask runs into the border of the photograph has no edge: -inf on the left, +inf on the
    right. So has a row without mask.
    """
    left = _first_crossing(masks, inside)
    right = _first_crossing(masks.flip(-1), inside.flip(-1))
    return torch.stack((left, masks.shape[-1] - right), -1)


def _first_crossing(masks: Tensor, inside: Tensor) -> Tensor:
    """x where each row first rises through 0.5; -inf if it starts at the border or never does."""
    size = masks.shape[-1]
    within = masks > 0.5
    column = torch.arange(size, device=masks.device)
    first = torch.where(within, column, size).amin(-1)
    index = first.clamp(1, size - 1)[..., None]
    here, before = masks.gather(-1, index)[..., 0], masks.gather(-1, index - 1)[..., 0]
    open_before = inside.gather(-1, index - 1)[..., 0]
    rise = torch.where(here > before, here - before, torch.ones_like(here))
    crossing = index[..., 0] + 0.5 - (here - 0.5) / rise
    found = (first > 0) & (first < size) & open_before
    return torch.where(found, crossing, torch.full_like(crossing, -torch.inf))


def row_contour(
    x: Float[Tensor, "*B"],
    left: Float[Tensor, "*B"],
    right: Float[Tensor, "*B"],
    margin: float = 0.01,
) -> Float[Tensor, "*B"]:
    """f(p) of HRN eq. 2 for positions in units of the window: |relu(l.r / max(|l|, |r|) + margin) - margin|.

    With the edges on one row, l = left - x and r = right - x, the quotient is the signed distance to the
    nearer edge, max(left - x, x - right): negative inside. In this form it is free of division, and a
    missing edge may be infinite. f is constant (the margin) further inside than the margin.
    """
    signed = torch.maximum(left - x, x - right)
    return ((signed + margin).clamp_min(0.0) - margin).abs()


def mask_edges(
    masks: Float[Tensor, "V S S"], inside: Bool[Tensor, "V S S"], blur: float = 1.0
) -> MaskEdges:
    """Nearest edge of each pixel by a distance transform, refined on the blurred mask's gradient.

    Once per window: on the CPU under 0.1 s a view at 256 px. Against the masks of a rendered head,
    the true outline lies 0.05 mm off in the median (pixels of 0.64 mm).
    """
    if has_kernels(masks.device):
        from hrnfit.energy.mask_edges_cuda import cuda_mask_edges  # local: triton

        return cuda_mask_edges(masks.detach(), inside, blur)
    fields = [
        _edges_of_one(mask, within, blur)
        for mask, within in zip(masks.detach().cpu().numpy(), inside.cpu().numpy(), strict=True)
    ]
    point, normal, valid = (np.stack(part) for part in zip(*fields, strict=True))
    return MaskEdges(
        torch.from_numpy(point).to(masks),
        torch.from_numpy(normal).to(masks),
        torch.from_numpy(valid).to(masks.device),
    )


def _edges_of_one(
    mask: np.ndarray, inside: np.ndarray, blur: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest edge point, its normal and whether it counts, for one window."""
    within = mask > 0.5
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    # the window's border erodes too
    edge = within & np.logical_not(scipy.ndimage.binary_erosion(within, cross))
    size = mask.shape[0]
    if not edge.any():
        nothing = np.zeros((size, size, 2))
        return nothing, nothing, np.zeros((size, size), bool)
    beside_border = np.asarray(scipy.ndimage.binary_dilation(~inside, cross))
    beside_border[[0, -1]] = beside_border[:, [0, -1]] = True
    smooth = scipy.ndimage.gaussian_filter(mask.astype(np.float64), blur, mode="nearest")
    slope = np.stack((np.gradient(smooth, axis=1), np.gradient(smooth, axis=0)), -1)
    steep = np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-6)
    normal = -slope / steep
    rows, columns = np.indices(mask.shape)
    centre = np.stack((columns + 0.5, rows + 0.5), -1)
    step = np.clip((smooth[..., None] - 0.5) / steep, -1.0, 1.0)
    point = centre + step * normal
    nearest = scipy.ndimage.distance_transform_edt(
        ~edge, return_distances=False, return_indices=True
    )
    row, column = np.asarray(nearest)
    counts = edge & np.logical_not(beside_border)
    return point[row, column], normal[row, column], counts[row, column] & inside


def edge_distance(
    xy: Float[Tensor, "V N 2"], edges: MaskEdges
) -> tuple[Float[Tensor, "V N"], Float[Tensor, "V N 2"], Bool[Tensor, "V N"]]:
    """Signed distance to the nearest mask edge along its normal (px, positive outside), that normal,
    and whether there is such an edge. Differentiable in `xy`; the choice of edge is not."""
    size = edges.point.shape[1]
    pixel = xy.detach().floor().long()
    known = ((pixel >= 0) & (pixel < size)).all(-1)
    pixel = pixel.clamp(0, size - 1)
    flat = pixel[..., 1] * size + pixel[..., 0]
    index = flat[..., None].expand(-1, -1, 2)
    point = edges.point.flatten(1, 2).gather(1, index)
    normal = edges.normal.flatten(1, 2).gather(1, index)
    valid = edges.valid.flatten(1).gather(1, flat)
    return ((xy - point) * normal).sum(-1), normal, valid & known


def mm_per_pixel(prediction: Prediction, views: WorkingViews) -> Float[Tensor, "V 1"]:
    """Width of a pixel at the head's mean depth. Held: a residual must not shrink by moving the
    head nearer or lengthening the lens."""

    def width() -> Tensor:
        focal = views.K[:, 0, 0] * prediction.state.log_focal.exp()
        return (prediction.points[..., 2].mean(1) / focal)[:, None]

    return held(width)


_EDGES: MutableMapping[Tensor, tuple[MaskEdges, Tensor]] = WeakIdKeyDictionary()
"""Edges per mask tensor: constants of a stage."""


def edges_of_views(views: WorkingViews) -> tuple[MaskEdges, Float[Tensor, "V S 2"]]:
    """Nearest edges and row edges of the views' masks, computed once per stage.

    A view without a mask has the whole photograph as its mask, so it has no edge and says nothing.
    """
    if views.masks not in _EDGES:
        edges = mask_edges(views.masks, views.inside), row_edges(views.masks, views.inside)
        _EDGES[views.masks] = edges
    return _EDGES[views.masks]


def keep_edges(
    masks: Float[Tensor, "V S S"], edges: MaskEdges, rows: Float[Tensor, "V S 2"]
) -> None:
    """Let `edges_of_views` find these for views with this very tensor of masks."""
    _EDGES[masks] = edges, rows


@dataclass(frozen=True)
class RowContour:
    """L_con of HRN (eq. 1-2), every vertex against the edges of its row."""

    delta: float = 100.0 / 224.0
    """Rows above this share of the window do not count: hair (HRN: 100 of 224 px)."""
    margin: float = 0.01
    """Share of the window inside the edge that is pulled onto it (HRN: lambda)."""
    name: str = "contour_rows"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        x, y = prediction.points[..., 0], prediction.points[..., 1].detach()
        size = views.size
        rows = edges_of_views(views)[1]
        row = y.floor().long().clamp(0, size - 1)[..., None].expand(-1, -1, 2)
        left, right = rows.gather(1, row).unbind(-1)
        f = row_contour(x / size, left / size, right / size, self.margin)
        # Deeper inside than the margin f is constant and has no gradient. Counted in, those vertices
        # would make 98 % of the mean: an outline off by 1.3 mm then raises the energy by 0.5 %.
        moves = torch.maximum(left - x, x - right) > -self.margin * size
        valid = moves & (y > self.delta * size) & (y < size)
        valid = valid & (left.isfinite() | right.isfinite())
        values = f * size * mm_per_pixel(prediction, views) / VISIBLY_WRONG
        # a row without any edge has an infinite distance
        values = torch.where(valid, values, torch.zeros_like(values))
        return Residuals(values, valid.to(values.dtype).detach())


@dataclass(frozen=True)
class NearestContour:
    """Occluding contour against the nearest mask edge, for heads turned any way."""

    reach: float = 15.0
    """Contours further than this from any mask edge (mm) belong to something else."""
    agreement: float = 0.5
    """Least cosine between the model's and the mask's outward normal."""
    pull_in: float = 1.0
    """Weight in 0..1 of vertices outside the mask that are not on the contour; 0 where the mask does
    not hold the whole head (neck, hair)."""
    name: str = "contour"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        points = prediction.points
        outline = silhouette(points, prediction.model.faces)
        distance, normal, known = edge_distance(points[..., :2], edges_of_views(views)[0])
        values = distance * mm_per_pixel(prediction, views) / VISIBLY_WRONG
        near = known & (values.detach().abs() * VISIBLY_WRONG < self.reach)
        agrees = (normal * outline.outward).sum(-1) > self.agreement
        covered = prediction.raster.triangle >= 0
        outer = outline.mask & uncovered(covered, points, outline.outward)
        contour = near & outer & agrees
        strayed = near & (distance > 0) & ~outline.mask
        validity = contour.to(values.dtype) + self.pull_in * strayed.to(values.dtype)
        return Residuals(values, validity.detach())
