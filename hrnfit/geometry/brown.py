"""OpenCV's Brown lens model on normalised image coordinates, its Jacobian and its inverse.

    x' = x a + 2 p1 x y + p2 (r2 + 2 x^2) + s1 r2 + s2 r2^2
    y' = y a + p1 (r2 + 2 y^2) + 2 p2 x y + s3 r2 + s4 r2^2
    a = (1 + k1 r2 + k2 r2^2 + k3 r2^3) / (1 + k4 r2 + k5 r2^2 + k6 r2^3),  r2 = x^2 + y^2

Coefficients: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 (OpenCV documentation, calib3d), shorter vectors
padded with zeros. Pixels, images and poses are `camera.py`'s.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LENGTHS = (0, 4, 5, 8, 12)
"""Numbers of coefficients OpenCV knows, without the tilted sensor."""

TOLERANCE = 1e-12
"""Largest residual of the inverse, normalised units: 1e-8 px at a focal length of 10,000 px."""


def distort(xy: Float[Tensor, "*B 2"], coefficients: Float[Tensor, "D"]) -> Float[Tensor, "*B 2"]:
    """Distorted coordinates of ideal ones."""
    if coefficients.shape[0] == 0:
        return xy
    x, y = xy.unbind(-1)
    return torch.stack(distort_parts(x, y, coefficients), -1)


def distort_parts(
    x: Float[Tensor, "*#B"], y: Float[Tensor, "*#B"], coefficients: Float[Tensor, "*#B D"]
) -> tuple[Float[Tensor, "*#B"], Float[Tensor, "*#B"]]:
    """The same for x and y apart; lenses and coordinates broadcast, so one call serves many lenses."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = _padded(coefficients)
    r2 = x * x + y * y
    a = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    # Most lenses need five coefficients: leaving the rest out halves the time on large grids.
    if coefficients.shape[-1] > 5:
        a = a / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    a = a + 2 * (p1 * y + p2 * x)  # the tangential terms, but for p2 r2 and p1 r2
    xd, yd = x * a + p2 * r2, y * a + p1 * r2
    if coefficients.shape[-1] > 8:
        xd, yd = xd + r2 * (s1 + r2 * s2), yd + r2 * (s3 + r2 * s4)
    return xd, yd


def jacobian(
    xy: Float[Tensor, "*B 2"], coefficients: Float[Tensor, "D"]
) -> Float[Tensor, "*B 2 2"]:
    """Derivative of `distort` by the ideal coordinates: entry [i, j] = d out_i / d in_j."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = _padded(coefficients)
    x, y = xy.unbind(-1)
    r2 = x * x + y * y
    top = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bottom = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    d_top = k1 + r2 * (2 * k2 + 3 * r2 * k3)
    d_bottom = k4 + r2 * (2 * k5 + 3 * r2 * k6)
    a = top / bottom
    d_a = (d_top - a * d_bottom) / bottom  # by r2, of which the gradient is (2 x, 2 y)
    prism_x, prism_y = s1 + 2 * r2 * s2, s3 + 2 * r2 * s4
    xx = a + 2 * x * x * d_a + 2 * p1 * y + 6 * p2 * x + 2 * x * prism_x
    xy_ = 2 * x * y * d_a + 2 * p1 * x + 2 * p2 * y + 2 * y * prism_x
    yx = 2 * x * y * d_a + 2 * p1 * x + 2 * p2 * y + 2 * x * prism_y
    yy = a + 2 * y * y * d_a + 6 * p1 * y + 2 * p2 * x + 2 * y * prism_y
    return torch.stack([torch.stack([xx, xy_], -1), torch.stack([yx, yy], -1)], -2)


def undistort(
    xy_distorted: Float[Tensor, "*B 2"], coefficients: Float[Tensor, "D"], steps: int = 50
) -> Float[Tensor, "*B 2"]:
    """Ideal coordinates of distorted ones, by Newton's method with step halving.

    Differentiable in both arguments through the implicit function theorem. Raises ValueError for
    points that the lens model cannot reach: beyond the radius where it folds over.
    """
    if coefficients.shape[0] == 0:
        return xy_distorted
    with torch.no_grad():
        xy, error = _newton(xy_distorted.double(), coefficients.double(), steps)
        lost = (error > 1e-10) | ~is_valid(xy, coefficients.double())
        if bool(lost.any()):
            radius = float(fold_radius(coefficients))
            raise ValueError(
                f"distortion: {int(lost.sum())} of {lost.numel()} pixels lie outside the lens model,"
                f" which folds over at {radius:.3g} focal lengths from the centre; calibrate again"
                " with fewer coefficients, or use only pixels nearer to the centre"
            )
        xy = xy.to(xy_distorted.dtype)
        J = jacobian(xy, coefficients)
    # One more Newton step, with gradient: its derivative is that of the implicit function.
    residual = distort(xy, coefficients) - xy_distorted
    return xy - _solve(J, residual)


def fold_radius(coefficients: Float[Tensor, "D"], limit: float = 4.0) -> Float[Tensor, ""]:
    """Radius where the radial part stops growing; inf when it grows up to `limit` (76 degrees)."""
    radius = torch.linspace(0, limit, 4001, dtype=torch.float64, device=coefficients.device)
    k1, k2, _, _, k3, k4, k5, k6, *_ = _padded(coefficients.detach().double())
    r2 = radius * radius
    top = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bottom = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    grows = (torch.diff(radius * top / bottom) > 0) & (bottom[1:] > 0)
    first = torch.where(grows.all(), torch.inf, radius[torch.argmin(grows.long())])
    return first.to(coefficients.dtype)


def kept_fold_radius(coefficients: Float[Tensor, "D"]) -> float:
    """`fold_radius` for the host, kept by the coefficients: it takes 0.2 ms."""
    return _kept_fold_radius(tuple(coefficients.detach().double().tolist()))


@lru_cache(maxsize=256)
def _kept_fold_radius(coefficients: tuple[float, ...]) -> float:
    return float(fold_radius(torch.tensor(coefficients, dtype=torch.float64)))


def is_valid(xy: Float[Tensor, "*B 2"], coefficients: Float[Tensor, "D"]) -> Bool[Tensor, "*B"]:
    """Where `distort` is one-to-one: inside the fold radius and with a positive Jacobian."""
    if coefficients.shape[0] == 0:
        return torch.ones(xy.shape[:-1], dtype=torch.bool, device=xy.device)
    J = jacobian(xy, coefficients)
    determinant = J[..., 0, 0] * J[..., 1, 1] - J[..., 0, 1] * J[..., 1, 0]
    return (_length(xy) < fold_radius(coefficients)) & (determinant > 0)


def _newton(target: Tensor, coefficients: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Root of distort(xy) = target and its residual norm, per point; float64, no gradient."""
    xy = target.clone()
    # A start beyond the fold would find the wrong branch, so start inside it, on the same ray.
    limit = 0.95 * fold_radius(coefficients)
    xy = xy * (limit / _length(xy)[..., None].clamp_min(1e-30)).clamp(max=1.0)
    error = _length(distort(xy, coefficients) - target)
    for _ in range(steps):
        step = _solve(jacobian(xy, coefficients), distort(xy, coefficients) - target)
        moved, moved_error = _halved_until_better(xy, step, error, target, coefficients)
        better = moved_error < error
        xy = torch.where(better[..., None], moved, xy)
        error = torch.where(better, moved_error, error)
        if bool((error <= TOLERANCE).all()) or not bool(better.any()):
            break
    return xy, error


def _halved_until_better(
    xy: Tensor, step: Tensor, error: Tensor, target: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor]:
    """Points moved against `step`, which is halved up to six times where the error would grow."""
    factor = torch.ones_like(error)
    moved, moved_error = xy, error
    for _ in range(6):
        moved = xy - factor[..., None] * step
        moved_error = _length(distort(moved, coefficients) - target)
        worse = (moved_error >= error) & (error > TOLERANCE)
        if not bool(worse.any()):
            break
        factor = torch.where(worse, factor / 2, factor)
    return moved, moved_error


def _solve(J: Tensor, right: Tensor) -> Tensor:
    """Solution of J x = right for (..., 2, 2) matrices; 0 where J is singular."""
    (a, b), (c, d) = J[..., 0, :].unbind(-1), J[..., 1, :].unbind(-1)
    u, v = right.unbind(-1)
    determinant = a * d - b * c
    safe = torch.where(determinant.abs() > 1e-12, determinant, torch.inf)
    return torch.stack([(d * u - b * v) / safe, (a * v - c * u) / safe], -1)


def _length(vectors: Tensor) -> Tensor:
    return (vectors * vectors).sum(-1).sqrt()


def _padded(coefficients: Tensor) -> tuple[Tensor, ...]:
    """The twelve coefficients, missing ones zero."""
    missing = 12 - coefficients.shape[-1]
    return torch.nn.functional.pad(coefficients, (0, missing)).unbind(-1)
