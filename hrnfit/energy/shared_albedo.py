"""Shared albedo: all views that see a texel of the skin must see the same colour there.

For texel p at x_p, view v reads c_pv = I_v(pi_v(x_p)). The albedo that explains all views best is
their weighted mean, so it is eliminated in closed form (variable projection) and what is left is

    E = sum_p sum_v w_pv |c_pv - o_pv - mean_v(c_pv - o_pv)|^2

with o_pv a field that is smooth over the skin: light that differs between views, and highlights that
travel with the viewer, are smooth; pores and moles are not. Its Jacobian in x_p is dense 3 x 3 per texel,
which makes Gauss-Newton on a whole deformation map one sparse solve. Rasterisation only decides
visibility.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.filters import gaussian_blur, slopes
from hrnfit.energy.photometric import VISIBLY_WRONG
from hrnfit.energy.pieces import PIXELS_AT_ONCE, by_pieces, pieces
from hrnfit.energy.texels import Texels
from hrnfit.observe.observation import WorkingViews

DARK = 0.02
"""Linear light at which the logarithm bends into a straight line: below is noise and black level."""
OCCLUSION_MARGIN = 2.5
"""A texel deeper than the nearest surface by more is hidden, mm; about the thickness of a lid."""
LEAST_COSINE = 0.25
"""Grazing views blur along the surface and are left out below this cosine."""


def log_encoded(linear: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Logarithmic encoding of light, 0..1 to 0..1: a change of light is an offset there."""
    return torch.log1p(linear.clamp_min(0.0) / DARK) / math.log1p(1.0 / DARK)


@dataclass(frozen=True)
class TexelSource:
    """Encoded windows with their gradients, ready to be read at any pixel position."""

    channels: Float[Tensor, "V 10 S S"]
    """Colour (3), its derivative along x (3) and y (3) per px, mask (1)."""


def texel_source(views: WorkingViews, blur: float) -> TexelSource:
    """Windows as `encoded_windows`."""
    return TexelSource(encoded_windows(views.images, views.masks, blur))


def encoded_windows(
    images: Float[Tensor, "V S S 3"], masks: Float[Tensor, "V S S"], blur: float
) -> Float[Tensor, "V 10 S S"]:
    """`TexelSource.channels` of windows (linear RGB): log-encoded, blurred by `blur` px (0: not), in units of
    `VISIBLY_WRONG`.

    Only what is inside the mask is blurred: backdrop that bleeds over the outline made the true
    surface cost 2 to 5 times as much (synthetic rig, blur 1.5 px).
    """
    views, size = masks.shape[:2]

    def some(at: slice) -> tuple[Tensor]:
        return (_encoded(images[at], masks[at], blur),)

    return by_pieces(some, pieces(size * size, views, PIXELS_AT_ONCE), (0,), views)[0]


def _encoded(
    images: Float[Tensor, "v S S 3"], masks: Float[Tensor, "v S S"], blur: float
) -> Float[Tensor, "v 10 S S"]:
    """Of some views."""
    colour = log_encoded(images).movedim(-1, 1) / VISIBLY_WRONG
    if blur > 0:
        inside = (masks > 0.99).to(colour)[:, None]
        planes = torch.cat([colour * inside, inside], dim=1)
        blurred = gaussian_blur(planes, blur, "reflect")
        share = blurred[:, 3:]
        colour = torch.where(share > 1e-3, blurred[:, :3] / share.clamp_min(1e-3), colour)
    slope = slopes(colour)
    return torch.cat([colour, slope[:, :, 0], slope[:, :, 1], masks[:, None]], dim=1)


@dataclass(frozen=True)
class TexelViews:
    """What V views see of P texels."""

    colour: Float[Tensor, "V P 3"]
    jacobian: Float[Tensor, "V P 3 3"]
    """Derivative of the colour in the texel's camera-frame position, per mm."""
    weight: Float[Tensor, "V P"]
    """Visible, inside the mask and facing the camera, 0..1."""


def read_texels(
    source: TexelSource,
    K: Float[Tensor, "V 3 3"],
    x_cam: Float[Tensor, "V P 3"],
    normal_cam: Float[Tensor, "V P 3"],
    depth: Float[Tensor, "V S S"] | None,
) -> TexelViews:
    """Colours and Jacobians of camera-frame texel positions.

    depth: of the rasterised surface, which hides what lies behind it; None hides nothing. Of many texels in
    many views some are read after the others (`pieces.py`).
    """
    near = None if depth is None else _nearest_depth(depth)
    views, count = x_cam.shape[:2]

    def some(at: slice) -> tuple[Tensor, Tensor, Tensor]:
        return _read(source, K, x_cam[:, at], normal_cam[:, at], near)

    return TexelViews(*by_pieces(some, pieces(views, count), (1, 1, 1), count))


def _read(
    source: TexelSource,
    K: Float[Tensor, "V 3 3"],
    x_cam: Float[Tensor, "V p 3"],
    normal_cam: Float[Tensor, "V p 3"],
    near: Float[Tensor, "V S S"] | None,
) -> tuple[Float[Tensor, "V p 3"], Float[Tensor, "V p 3 3"], Float[Tensor, "V p"]]:
    """Colour, Jacobian and weight of some texels."""
    size = source.channels.shape[-1]
    z = x_cam[..., 2]
    pixels = (x_cam / z[..., None]) @ K[:, :2].mT
    grid = (2.0 * pixels / size - 1.0)[:, None]
    read = torch.nn.functional.grid_sample(source.channels, grid, align_corners=False)
    read = read[:, :, 0].movedim(1, -1)
    fx, fy = K[:, None, 0, 0], K[:, None, 1, 1]
    ax, ay = fx / z, fy / z
    gx, gy = read[..., 3:6], read[..., 6:9]
    inward = -(gx * (ax * x_cam[..., 0] / z)[..., None] + gy * (ay * x_cam[..., 1] / z)[..., None])
    jacobian = torch.stack([gx * ax[..., None], gy * ay[..., None], inward], dim=-1)
    cosine = -(normal_cam * x_cam).sum(-1) / x_cam.norm(dim=-1)
    ramp = ((cosine - LEAST_COSINE) / (1.0 - LEAST_COSINE)).clamp(0.0, 1.0)
    if near is not None:
        ramp = ramp * (z < _at_pixels(near, pixels) + OCCLUSION_MARGIN)
    inside = ((pixels > 1.0) & (pixels < size - 1.0)).all(-1)
    weight = ramp * inside * (read[..., 9] > 0.99)
    return read[..., :3], jacobian, weight


def _nearest_depth(depth: Float[Tensor, "V S S"]) -> Float[Tensor, "V S S"]:
    """Smallest depth in the 3 x 3 px around each pixel; +inf is background, which hides nothing."""
    return -torch.nn.functional.max_pool2d(-depth[:, None], 3, stride=1, padding=1)[:, 0]


def _at_pixels(
    values: Float[Tensor, "V S S"], pixels: Float[Tensor, "V P 2"]
) -> Float[Tensor, "V P"]:
    """Values of the pixels that hold positions."""
    at = pixels.long().clamp(0, values.shape[-1] - 1)
    flat = at[..., 1] * values.shape[-1] + at[..., 0]
    return values.flatten(1).gather(1, flat)


@dataclass(frozen=True)
class Consensus:
    """The eliminated albedo and what the views say against it."""

    mean: Float[Tensor, "P 3"]
    """Robust mean colour, encoded, in units of `VISIBLY_WRONG`."""
    residual: Float[Tensor, "V P 3"]
    weight: Float[Tensor, "V P"]
    """Robust weight; zero for texels that fewer than two views see."""
    energy: Float[Tensor, ""]
    """Weighted mean of Geman-McClure residuals over texels seen at least twice."""
    seen: Float[Tensor, ""]
    """Sum of the weights the mean was taken over."""


def consensus(
    texels: TexelViews, offset: Float[Tensor, "V P 3"], scale: float, rounds: int = 3
) -> Consensus:
    """Mean by `rounds` of iteratively re-weighted least squares; `scale` as in Geman-McClure."""
    views, count = texels.weight.shape
    counted, against = [], []

    def some(at: slice) -> tuple[Tensor, Tensor, Tensor]:
        colour, plain = texels.colour[:, at] - offset[:, at], texels.weight[:, at]
        mean, residual, weight, used, squared = _agreed(colour, plain, scale, rounds)
        counted.append(used.sum())
        against.append((used * scale**2 * squared / (1.0 + squared)).sum())
        return mean, residual, weight

    mean, residual, weight = by_pieces(some, pieces(views, count), (0, 1, 1), count)
    seen = sum(counted[1:], counted[0]).clamp_min(1e-9)
    return Consensus(mean, residual, weight, sum(against[1:], against[0]) / seen, seen)


def _agreed(
    colour: Float[Tensor, "V p 3"], plain: Float[Tensor, "V p"], scale: float, rounds: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mean (p, 3), residual, weight, plain weight where two see, squared residual over `scale` squared."""
    weight = plain
    for _ in range(rounds):
        total = weight.sum(0).clamp_min(1e-9)
        mean = (weight[..., None] * colour).sum(0) / total[:, None]
        squared = (colour - mean).square().sum(-1) / scale**2
        weight = plain / (1.0 + squared).square()
    # once more with the last weights: held weights then make the residuals' weighted sum zero
    mean = (weight[..., None] * colour).sum(0) / weight.sum(0).clamp_min(1e-9)[:, None]
    squared = (colour - mean).square().sum(-1) / scale**2
    twice = (plain > 0).sum(0) >= 2
    return mean, colour - mean, weight * twice, plain * twice, squared


def smooth_offset(
    texels: TexelViews, agreed: Consensus, raster: Texels, sigma: float
) -> Float[Tensor, "V P 3"]:
    """The part of each view's disagreement that is smooth over the skin.

    sigma: width of the Gaussian, share of the UV square. 0.015 is about 5 mm: half of it let
    highlights pull the surface by 1 mm and more, twice of it did too (rig, five views: 95th percentile
    0.62 mm at 0.015, 0.84 at 0.02, 1.02 at 0.03, 1.43 with no offset).
    """
    views = len(texels.weight)

    def some(at: slice) -> tuple[Tensor]:
        against = texels.colour[at] - agreed.mean
        weight = agreed.weight[at] + 1e-6 * texels.weight[at]
        return (_smoothed(against, weight, raster, sigma),)

    return by_pieces(some, pieces(raster.size**2, views, PIXELS_AT_ONCE), (0,), views)[0]


def _smoothed(
    against: Float[Tensor, "v P 3"], weight: Float[Tensor, "v P"], raster: Texels, sigma: float
) -> Float[Tensor, "v P 3"]:
    """Weighted mean around each texel, in some views."""
    size = raster.size
    shrink = max(1, int(sigma * size / 2))
    planes = torch.cat([against * weight[..., None], weight[..., None]], dim=-1)
    image = planes.new_zeros(len(planes), 4, size * size)
    image.index_copy_(2, raster.flat, planes.movedim(-1, 1))
    image = torch.nn.functional.avg_pool2d(image.view(-1, 4, size, size), shrink, ceil_mode=True)
    image = gaussian_blur(image, sigma * size / shrink, "constant")
    full = torch.nn.functional.interpolate(image, scale_factor=shrink, mode="bilinear")
    smooth = full[..., :size, :size].flatten(2)[:, :, raster.flat].movedim(1, -1)
    return smooth[..., :3] / smooth[..., 3:].clamp_min(1e-6)


def column_blocks(
    columns: Float[Tensor, "V P 3 k"], agreed: Consensus
) -> tuple[Float[Tensor, "P k k"], Float[Tensor, "P k"], Float[Tensor, "V P 3 k"]]:
    """Gauss-Newton Hessian and gradient of half of `agreed.energy` per texel, and the centred columns
    they are made of.

    columns: derivative of each view's colours in k unknowns of a texel, such as its position.
    """
    views, count = agreed.weight.shape

    def some(at: slice) -> tuple[Tensor, Tensor, Tensor]:
        weight = agreed.weight[:, at] / agreed.seen
        total = weight.sum(0).clamp_min(1e-12)
        mean = (weight[..., None, None] * columns[:, at]).sum(0) / total[:, None, None]
        centred = columns[:, at] - mean
        pulled = weight[..., None, None] * centred
        hessian = torch.einsum("vpci,vpcj->pij", pulled, centred)
        gradient = torch.einsum("vpci,vpc->pi", pulled, agreed.residual[:, at])
        return hessian, gradient, centred

    hessian, gradient, centred = by_pieces(some, pieces(views, count), (0, 0, 1), count)
    return hessian, gradient, centred


def centred_columns(
    columns: Float[Tensor, "V P 3 k"], agreed: Consensus
) -> Float[Tensor, "V P 3 k"]:
    """Columns less their mean over the views, as the eliminated albedo leaves them."""
    weight = agreed.weight / agreed.seen
    total = weight.sum(0).clamp_min(1e-12)
    return columns - (weight[..., None, None] * columns).sum(0) / total[:, None, None]
