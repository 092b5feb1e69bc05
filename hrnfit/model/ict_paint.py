"""What lies behind the skin is not coloured like skin: a first albedo for teeth, gums and eyes.

Only where a fit begins; photographs that show an eye or a tooth replace it.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.model.ict_ball import radius_of
from hrnfit.model.ict_chart import Chart
from hrnfit.model.linear import enlarge

SIZE = 512
"""Texels per side: the iris then has eight."""

TEETH = (0.62, 0.56, 0.46)
GUMS = (0.36, 0.12, 0.11)
WHITE = (0.66, 0.61, 0.58)
IRIS = (0.11, 0.075, 0.05)
PUPIL = (0.012, 0.012, 0.012)
"""Linear RGB."""

IRIS_ANGLE, PUPIL_ANGLE = 0.39, 0.15
"""From the ball's axis, rad: 12 mm and 4.5 mm across on a ball of 31 mm."""


def painted_mean(
    mean: Float[Tensor, "h w 3"], chart: Chart, size: int = SIZE
) -> Float[Tensor, "H W 3"]:
    """The mean albedo enlarged, with what the chart holds beside skin painted over."""
    image = np.ascontiguousarray(enlarge(mean, size).numpy())
    centre = (np.arange(size) + 0.5) / size
    for name, place in chart.boxes:
        colour = {"teeth": TEETH, "gums_tongue": GUMS}.get(name, WHITE)
        low, high = place.corner, place.corner + place.axes.sum(axis=0)
        columns, rows = (
            (centre > low[k] - 1.0 / size) & (centre < high[k] + 1.0 / size) for k in (0, 1)
        )
        image[np.ix_(rows, columns)] = colour
    if chart.mouth is not None:
        polygon = np.rint((chart.mouth * size - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(image, [polygon.reshape(-1, 1, 2)], GUMS, shift=4)
    iris, pupil = radius_of(np.array([IRIS_ANGLE, PUPIL_ANGLE]))
    grid = np.stack(np.meshgrid(centre, centre), axis=2)
    for ellipse in chart.eyes:
        radius = np.linalg.norm((grid - ellipse.centre) @ np.linalg.inv(ellipse.radii), axis=2)
        edge = 1.0 + 1.5 / (size * np.linalg.norm(ellipse.radii, axis=1).min())
        for share, colour in ((edge, WHITE), (iris, IRIS), (pupil, PUPIL)):
            image[radius < share] = colour
    return torch.from_numpy(image)
