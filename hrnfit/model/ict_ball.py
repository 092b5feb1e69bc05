"""An eyeball in the plane: the gaze's end in the middle, the back pole all around.

Azimuthal: direction from the ball's axis is direction in the plane, and the angle t from the axis becomes
the radius sin(t / 2)^0.8, between equal area (1) and equal radius for the front that is seen: what lies
within 50 degrees of the axis, the opening of the lids, fills half of the radius. The ball is cut at
the back pole alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hrnfit.model.ict_islands import Group, Laid

POWER = 0.8


class Ellipse(NamedTuple):
    """A place for a ball in the chart."""

    centre: Float[np.ndarray, "2"]
    radii: Float[np.ndarray, "2 2"]
    """Rows: half axes, to the subject's left and down."""


def radius_of(angle: Float[np.ndarray, "*K"]) -> Float[np.ndarray, "*K"]:
    """Radius in the plane, 0..1, of an angle from the axis, rad."""
    return np.sin(0.5 * angle) ** POWER


def unrolled_ball(
    points: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], mine: Group, place: Ellipse
) -> Laid:
    """The ball's triangles in an ellipse. Its poles are the two vertices of most triangles, the front
    one having the greater z: the published balls look 4 degrees outwards."""
    distinct, corner = np.unique(faces[mine], return_inverse=True)
    triangles = corner.reshape(-1, 3)
    ball = points[distinct].astype(np.float64)
    poles = np.argsort(np.bincount(triangles.ravel()), kind="stable")[-2:]
    back, front = poles[np.argsort(ball[poles, 2])]
    axis = ball[front] - ball[back]
    axis = axis / max(np.linalg.norm(axis), 1e-12)
    left = np.array([1.0, 0.0, 0.0]) - axis[0] * axis
    left = left / np.linalg.norm(left)
    frame = np.stack([left, -np.cross(axis, left), axis])  # to the subject's left, down, forward
    arm = (ball - 0.5 * (ball[front] + ball[back])) @ frame.T
    across = np.linalg.norm(arm[:, :2], axis=1)
    direction = arm[:, :2] / np.maximum(across, 1e-12)[:, None]
    spots = radius_of(np.arctan2(across, arm[:, 2]))[:, None] * direction
    spots[front] = 0.0
    spots, triangles = _cut(spots, triangles, np.arange(len(ball)) == back)
    return Laid(mine, place.centre + spots @ place.radii, triangles)


def _cut(
    spots: Float[np.ndarray, "P 2"], triangles: Int[np.ndarray, "G 3"], pole: np.ndarray
) -> tuple[Float[np.ndarray, "Q 2"], Int[np.ndarray, "G 3"]]:
    """A corner of its own on the unit circle for every triangle at the back pole."""
    out, own = triangles.copy(), [spots]
    count = len(spots)
    for row, column in np.argwhere(pole[triangles]):
        others = spots[np.delete(triangles[row], column)].sum(axis=0)
        own.append((others / max(np.linalg.norm(others), 1e-12))[None])
        out[row, column] = count
        count += 1
    return np.concatenate(own), out
