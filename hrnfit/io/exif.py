"""What EXIF tells of a photograph's geometry: orientation and focal length (CIPA DC-008)."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
EXIF_FOLDER = 0x8769
FOCAL_LENGTH = 0x920A
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
PLANE_X_RESOLUTION, PLANE_UNIT = 0xA20E, 0xA210
FOCAL_LENGTH_35 = 0xA405

FILM_DIAGONAL = math.hypot(36.0, 24.0)
"""mm; the 35 mm equivalent keeps the diagonal's field of view (CIPA DCG-001)."""

UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Length of the focal plane's resolution unit: inch, cm, mm, micrometre."""


def orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W[, C]) turned upright from EXIF orientation 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def focal_from_exif(exif: Image.Exif, height: int, width: int) -> float | None:
    """Focal length in px of the upright (height, width) image; None when unknown or cropped.

    A picture whose aspect differs from the recorded one was cropped, and by how much is not told.
    """
    folder = exif.get_ifd(EXIF_FOLDER)
    recorded = (_number(folder.get(PIXEL_WIDTH)), _number(folder.get(PIXEL_HEIGHT)))
    long, short = max(height, width), min(height, width)
    recorded_long = max(recorded)
    aspect_agrees = abs(min(recorded) / (recorded_long or 1.0) - short / long) <= 0.01
    # A resized copy keeps the aspect to a pixel; 1 % covers rounding of small copies.
    if min(recorded) > 0 and not aspect_agrees:
        return None
    equivalent = _number(folder.get(FOCAL_LENGTH_35))
    if equivalent > 0:
        return equivalent * math.hypot(height, width) / FILM_DIAGONAL
    focal, resolution = _number(folder.get(FOCAL_LENGTH)), _number(folder.get(PLANE_X_RESOLUTION))
    unit = UNIT_MM.get(int(_number(folder.get(PLANE_UNIT)) or 2))
    if focal > 0 and resolution > 0 and unit is not None:
        scale = long / recorded_long if recorded_long > 0 else 1.0
        return focal * resolution / unit * scale
    return None


def _number(value: object) -> float:
    """A finite EXIF number, 0 when absent or malformed (0/0 is how cameras write "unknown")."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if math.isfinite(number) else 0.0
