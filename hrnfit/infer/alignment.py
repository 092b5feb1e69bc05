"""Where the released networks expect the face: five points and a scaled-orthographic fit to a mean face.

Law (Deng et al. 2019 and the released code): x = R1 . X + tx, y = R2 . X + ty by least squares over five
points, in index coordinates (the first pixel's centre is 0) with y up; s = 102 / ((|R1| + |R2|) / 2)
makes a decimetre 102 px long. Nothing is turned. Which pixels that cuts out is `crop.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.check import check_finite, check_shape
from hrnfit.observe.aligned_face import five_points as five_of
from hrnfit.observe.observation import Landmarks

FACTOR = 102.0
"""px per decimetre in the crop of 224 px."""

REFERENCE = (
    (-0.31149, 0.29036, 0.13378),
    (0.30980, 0.28972, 0.13180),
    (0.00325, -0.04618, 0.55244),
    (-0.25217, -0.38134, 0.22406),
    (0.24847, -0.38128, 0.22236),
)
"""Image-left eye, image-right eye, nose tip, mouth corners likewise; decimetres, y up."""

NAMES = ("left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner")
"""As they lie in the image."""

FLATTEST = 0.2
"""Smallest ratio of the two singular values of a fit that is believed: 1 in theory, 0.80 or more for
heads turned by up to 85 degrees at 250 mm, 0 for points on a line."""

MIRRORED = -0.5
"""Cosine of the face's direction under which the points must be mirrored: a mirrored frontal face has
-0.9, a true one at 300 mm turned by 85 degrees, where perspective bends the fit, down to -0.29."""


@dataclass(frozen=True)
class Alignment:
    """How large the face stands in a photograph, and where."""

    scale: float
    """Factor on the photograph that makes a decimetre of the face 102 px long."""
    translation: tuple[float, float]
    """Image of the reference points' origin: index coordinates, px of the photograph, y up."""
    height: int
    """Photograph's height, px."""
    width: int
    """Photograph's width, px."""


def five_points(landmarks: Landmarks, name: str = "photograph") -> Float[Tensor, "5 2"]:
    """Eye centres, nose tip and mouth corners, image-left first, in the landmarks' pixels.

    Raises ValueError for an unknown scheme and for a point that is missing; `name` says where.
    """
    try:
        five = five_of(landmarks)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    missing = [NAMES[k] for k in range(5) if not float(five.confidence[k]) > 0]
    if missing:
        raise ValueError(
            f"{name}: no {', no '.join(missing)} among the landmarks; the networks need all five "
            "points: give them by hand as a scheme 'five', or leave the photograph out"
        )
    return five.points


def align_five(
    points: Float[Tensor, "5 2"], height: int, width: int, name: str = "photograph"
) -> Alignment:
    """The alignment of five points in a photograph of `height` x `width` px (ours: centres at +0.5).

    Points in the order of `five_points`. Raises ValueError, naming the photograph, for points that are
    not finite, that lie on a line or in one spot, or whose order is mirrored.
    """
    check_shape(f"{name}: five points", points, (5, 2))
    check_finite(f"{name}: five points", points, "detect the landmarks again")
    pixels = points.detach().cpu().double()
    x, y_up = pixels[:, 0] - 0.5, height - 0.5 - pixels[:, 1]
    reference = torch.tensor(REFERENCE, dtype=torch.float64)
    design = torch.cat([reference, torch.ones(5, 1, dtype=torch.float64)], 1)
    # Gelsd does not depend on the rank: points in one spot must reach the check below.
    fit = torch.linalg.lstsq(design, torch.stack([x, y_up], 1), driver="gelsd").solution
    rows = fit[:3].mT
    _check_rows(rows, name)
    factor = FACTOR / float(rows.norm(dim=1).mean())
    return Alignment(factor, (float(fit[3, 0]), float(fit[3, 1])), height, width)


def _check_rows(rows: Float[Tensor, "2 3"], name: str) -> None:
    """R1 and R2 can be those of a face: of similar length, across each other, and seen from in front."""
    largest, smallest = (float(v) for v in torch.linalg.svdvals(rows))
    if largest < 1.0 or smallest < FLATTEST * largest:
        raise ValueError(
            f"{name}: the five points span {largest:.3g} x {smallest:.3g} px per decimetre of face, "
            "which is no face: they lie on a line or in one spot; detect the landmarks again"
        )
    facing = float(torch.linalg.cross(rows[0], rows[1])[2] / rows.norm(dim=1).prod())
    if facing <= MIRRORED:
        raise ValueError(
            f"{name}: the five points are mirrored (or the face is seen from behind); expected the "
            "image-left eye first, y down: swap left and right, or detect again"
        )
