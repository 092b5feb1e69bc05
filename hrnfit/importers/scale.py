"""How long a unit of a file is, told by the eyes where the file does not say it.

The outer corners of the eyes of an adult stand 85 to 105 mm apart (the maker of FaceVerse is told so
in issue 1 of github.com/LizhenWangT/FaceVerse, with the unit unknown to him too); on the mean of
the Basel model of 2017 86, on the template of HIFI3D 93.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hrnfit.model.format_error import ModelFormatError

OUTER_CORNERS = (36, 45)
"""iBUG points."""

USUAL = 90.0
"""mm."""

DECADES = (1.0, 10.0, 100.0, 1000.0)
"""mm in a unit of mm, cm, dm and m."""


def decimal_unit(marks: Float[np.ndarray, "68 3"]) -> float:
    """mm per unit, where the unit is one of mm, cm, dm, m. Raises ModelFormatError when none fits."""
    apart = _apart(marks)
    for scale in DECADES:
        if 75.0 < apart * scale < 110.0:
            return scale
    raise ModelFormatError(
        f"landmarks: the outer corners of the eyes are {apart:.4g} units apart, 90 mm in no usual unit"
    )


def unit_by_eyes(marks: Float[np.ndarray, "68 3"]) -> float:
    """mm per unit, where the unit is unknown: the outer corners are set `USUAL` apart."""
    apart = _apart(marks)
    if not 1e-6 < apart < 1e6:
        raise ModelFormatError(f"landmarks: the outer corners of the eyes are {apart:.4g} apart")
    return USUAL / apart


def _apart(marks: Float[np.ndarray, "68 3"]) -> float:
    first, second = OUTER_CORNERS
    return float(np.linalg.norm(marks[first] - marks[second]))
