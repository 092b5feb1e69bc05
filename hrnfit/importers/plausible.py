"""Numbers that no head has: told where a file's keys are still known."""

from __future__ import annotations

import numpy as np

from hrnfit.model.format_error import ModelFormatError

FARTHEST = 1e4
"""mm: no vertex lies so far from the origin, and no mode moves one so far."""


def check_numbers(key: str, values: np.ndarray, most: float, what: str = "a head") -> None:
    """Raise ModelFormatError when a value is not finite or beyond `most` of either sign."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ModelFormatError(
            f"{key}: not all numbers are finite; copy or download the file again"
        )
    if max(-low, high) > most:
        raise ModelFormatError(
            f"{key}: values {low:.4g} to {high:.4g}, more than {what} has (up to {most:g})"
        )


def check_colours(key: str, colours: np.ndarray, white: float) -> None:
    """Raise ModelFormatError when mean colours are not finite or lie far outside 0..`white`."""
    low, high = float(colours.min(initial=0.0)), float(colours.max(initial=0.0))
    if not (-0.5 * white <= low and high <= 1.5 * white):  # NaN fails too
        raise ModelFormatError(
            f"{key}: values {low:.4g} to {high:.4g}, expected RGB in 0..{white:g}"
        )
