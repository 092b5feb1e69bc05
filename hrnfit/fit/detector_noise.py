"""How the landmark detector errs on faces: together, over whole regions, and towards the usual face.

Measured on 282 renders of random faces of two models (identity of one standard deviation, three
expressions, yaw 12 and pitch 6 degrees, lights, distances): what MediaPipe marked against where the
points lay, mm at the face. The errors have 2.0 mm of length, and 24 patterns make nine tenths of them: a
fit that takes 478 errors for independent believes the points far too much.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.fit.landmark_views import LandmarkView

FILE = Path(__file__).with_name("detector_noise.npz")

SHRINK = 0.15
"""Share of a face's deviation from the mean that the detector does not report: the regression of its
errors on the true deviations gives 0.17 and 0.15 on the two models."""

EVERY = 3
"""Of the points, every third is used: neighbours err alike, and 159 of them say what 478 do."""

EYES = (33, 263)
"""Outer eye corners, subject's right and left: they tell the roll of the head in the picture."""

ALONG_CONTOUR = 4.0
"""Standard deviation along a contour, mm: where on it the detector puts a point says nothing."""


@cache
def measured_noise() -> tuple[Float[Tensor, "478 2 K"], Float[Tensor, "478 2"]]:
    """Common patterns (mm per standard deviation, x right and y down of an upright face) and the
    variance of what is left of each point, mm^2."""
    with np.load(FILE) as file:
        return (
            torch.from_numpy(file["basis"].astype(np.float64)),
            torch.from_numpy(file["variance"].astype(np.float64)),
        )


def used_points(view: LandmarkView) -> Int[Tensor, "M"]:
    """Points of a view that enter the fit."""
    index = torch.arange(0, len(view.pixels), EVERY)
    return index[view.weight[index] > 0]


def whitening(
    view: LandmarkView, points: Int[Tensor, "M"], inflation: float
) -> Float[Tensor, "M2 M2"]:
    """Matrix that makes offsets in mm of these points (x, y interleaved) unit and independent.

    inflation: factor on the variance, since photographs are harder than renders.
    """
    basis, variance = measured_noise()
    right = view.pixels[EYES[1]] - view.pixels[EYES[0]]
    right = right / right.norm().clamp_min(1e-9)
    roll = torch.stack([right, torch.stack([-right[1], right[0]])], dim=1)
    patterns = (roll @ basis[points]).flatten(0, 1)
    covariance = (patterns @ patterns.T).reshape(len(points), 2, len(points), 2)
    own = torch.arange(len(points))
    covariance[own, :, own, :] += roll @ torch.diag_embed(variance[points]) @ roll.mT
    covariance *= inflation
    # `direction` keeps across and releases along; what it releases gets its own variance.
    released = torch.eye(2, dtype=torch.float64) - view.direction[points]
    covariance[own, :, own, :] += ALONG_CONTOUR**2 * released
    # A doubtful point (hidden, say) is a noisier one.
    doubt = (1.0 / view.weight[points].clamp(1e-3, 1.0) - 1.0)[:, None, None]
    covariance[own, :, own, :] += doubt * torch.eye(2, dtype=torch.float64)
    flat = covariance.reshape(2 * len(points), 2 * len(points))
    return torch.linalg.inv(torch.linalg.cholesky(flat))
