"""Proportions of the drawn face, revised in anatomical terms before the published distances are met.

`cage.py` draws rows by hand; these are broad corrections of that drawing, each a smooth field over
one anatomical unit. Signs come from norms that the drawing broke (lips too far before the line from
subnasale to pogonion, eyes too deep for the Hertel norm of 16 mm, sellion too low) or, for the
cheeks, from the fact that callipers press soft tissue in. Sizes were chosen once among a few whole
millimetres; docs/generic_model.md tells how.
"""

from __future__ import annotations

import numpy as np

from .cage import AXIS_Z
from .surface import gaussian, smoothstep

LIFT = 3.5
"""Lower face nearer to the eyes: the sellion lies 5 mm over the pupils, not 2."""
BUCCAL, JAW = 3.5, 4.0
"""Fuller cheek between zygoma and jaw, and fuller masseter, along the outward direction."""
EYES = 1.5
"""Eyeballs and lids forward."""
LIPS = -1.5
"""Both lips back."""
BROWS = 1.0
"""Supraorbital ridge forward."""
MIDFACE = 0.5
"""Infraorbital and paranasal skin forward."""


def _spot(p: np.ndarray, x: float, y: float, rx: float, ry: float) -> np.ndarray:
    return gaussian(np.hypot((np.abs(p[:, 0]) - x) / rx, (p[:, 1] - y) / ry), 1.0)


def revised(vertices: np.ndarray) -> np.ndarray:
    """Drawn vertices (N, 3), mm, with the corrections above."""
    p = vertices
    outward = (p - [0.0, 0.0, AXIS_Z]) * [1.0, 0.0, 1.0]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    full = BUCCAL * _spot(p, 48, -50, 14, 22) + JAW * _spot(p, 46, -88, 16, 18)
    out = p + full[:, None] * outward
    out[:, 1] += LIFT * smoothstep(-p[:, 1], 0.0, 46.0)
    out[:, 2] += EYES * _spot(p, 30, -2, 16, 12) + LIPS * _spot(p, 0, -70, 22, 14)
    out[:, 2] += BROWS * _spot(p, 22, 18, 26, 8) + MIDFACE * _spot(p, 20, -40, 22, 24)
    return out
