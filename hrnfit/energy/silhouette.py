"""Mask term: the rendered coverage against the view's mask, near occluding contours only.

Where the mesh merely ends on the head (neck cut, hair line) coverage and mask differ at the truth, so
those boundaries are left out. Gradients come from the antialiased coverage alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.energy.contour import VISIBLY_WRONG, edges_of_views, mm_per_pixel
from hrnfit.energy.occluding import edges_of, silhouette, uncovered
from hrnfit.energy.term import Prediction, Residuals
from hrnfit.observe.observation import WorkingViews


def soft_iou(
    coverage: Float[Tensor, "V S S"], masks: Float[Tensor, "V S S"], counts: Bool[Tensor, "V S S"]
) -> Float[Tensor, "V"]:
    """Intersection over union of two soft masks, sum of minima over sum of maxima, where it counts.

    1 where both are empty.
    """
    weight = counts.to(coverage.dtype)
    both = (torch.minimum(coverage, masks) * weight).sum((1, 2))
    either = (torch.maximum(coverage, masks) * weight).sum((1, 2))
    empty = either == 0
    return torch.where(empty, torch.ones_like(both), both / either.masked_fill(empty, 1.0))


def near(
    xy: Float[Tensor, "V K 2"], chosen: Bool[Tensor, "V K"], size: int, radius: int
) -> Bool[Tensor, "V S S"]:
    """Pixels within `radius` px (a square) of a chosen point."""
    pixel = xy.detach().floor().long()
    inside = chosen & ((pixel >= 0) & (pixel < size)).all(-1)
    pixel = pixel.clamp(0, size - 1)
    grid = torch.zeros(len(xy), size * size, dtype=xy.dtype, device=xy.device)
    grid = grid.scatter_reduce(1, pixel[..., 1] * size + pixel[..., 0], inside.to(xy.dtype), "amax")
    grid = grid.reshape(-1, 1, size, size)
    # by rows, then by columns: seven times faster than a square of 31
    for axis in ((2 * radius + 1, 1), (1, 2 * radius + 1)):
        pad = (axis[0] // 2, axis[1] // 2)
        grid = torch.nn.functional.max_pool2d(grid, axis, stride=1, padding=pad)
    return grid[:, 0] > 0


def boundary_band(prediction: Prediction, size: int, radius: int) -> Bool[Tensor, "V S S"]:
    """Pixels near an outer occluding contour and not near an open edge of the mesh in view."""
    points, faces = prediction.points, prediction.model.faces
    outline = silhouette(points, faces)
    covered = prediction.raster.triangle >= 0
    outer = outline.mask & uncovered(covered, points, outline.outward)
    open_edges = edges_of(faces).open
    ends = points[:, open_edges.flatten(), :2]
    everywhere = torch.ones(ends.shape[:2], dtype=torch.bool, device=ends.device)
    cut = near(ends, everywhere, size, radius)
    return near(points[..., :2], outer, size, radius) & ~cut


@dataclass(frozen=True)
class Silhouette:
    """Coverage less mask in a band around the occluding contour.

    Under `abs`, an outline that is off by 2 mm all along has energy 1: the band is 2 r wide, and each of
    its pixels is scaled by the band's width.
    """

    band: float = 0.03
    """Half width of the band, share of the window: how far an outline may be off and still be seen."""
    name: str = "silhouette"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        size = views.size
        radius = max(1, round(self.band * size))
        # pixels nearest to the photograph's border, or of a view without a mask, are not known
        known = edges_of_views(views)[0].valid
        counts = boundary_band(prediction, size, radius) & known
        width = (2 * radius + 1) * mm_per_pixel(prediction, views)[..., None]
        values = (prediction.coverage - views.masks) * width / VISIBLY_WRONG
        return Residuals(values, counts.to(values.dtype))
