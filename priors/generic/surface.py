"""The mean surface as a smooth function of the chart: base spline plus relief of eyes, nose, lips.

`surface(chart)` maps chart coordinates (K, 2) in mm, unwrapped about a vertical axis, to positions
(K, 3). The base is a thin-plate spline through the control points of `cage.py`; lids, eyeballs,
nostrils, lips and ears are added to it as closed formulas. The mouth is a cut: which lip a point
belongs to is told by `side`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.interpolate import RBFInterpolator

from . import cage


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below low, 1 above high, cubic between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def smooth_maximum(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Maximum with its kink rounded over about `width` mm."""
    return 0.5 * (a + b + np.sqrt((a - b) ** 2 + width**2))


def gaussian(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * (distance / width) ** 2)


@cache
def _base() -> RBFInterpolator:
    chart, position = cage.control_points()
    return RBFInterpolator(chart, position, kernel="thin_plate_spline", smoothing=6.0)


def base_surface(chart: np.ndarray) -> np.ndarray:
    """The spline alone: no lids, nostrils, lips, ears."""
    return _base()(chart)


def lid_rims(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the lower and upper lid margin at |x|, mm (palpebral fissure 10.8 mm high)."""
    en, ex = cage.ENDOCANTHION, cage.EXOCANTHION
    s = np.clip((x - en[0]) / (ex[0] - en[0]), 0.0, 1.0)
    line = en[1] + s * (ex[1] - en[1])
    upper = line + 5.4 * np.sin(np.pi * s**0.82) ** 0.8
    lower = line - 5.2 * np.sin(np.pi * s**1.12) ** 0.9
    return lower, upper


def fissure_depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance, about, to the lid margins: positive on the eyeball, mm."""
    lower, upper = lid_rims(x)
    inside = np.minimum(y - lower, upper - y)
    beyond = np.maximum(cage.ENDOCANTHION[0] - x, x - cage.EXOCANTHION[0])
    return np.where(beyond > 0, np.minimum(inside, -beyond), inside)


def _sphere(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Front of a sphere about the eye, continued by a cone outside so that it stays smooth."""
    centre = cage.EYE_CENTRE
    r2 = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    limit = (0.93 * radius) ** 2
    inside = centre[2] + np.sqrt(radius**2 - np.minimum(r2, limit))
    slope = 0.93 / np.sqrt(1 - 0.93**2)
    return inside - slope * (np.sqrt(np.maximum(r2, limit)) - 0.93 * radius)


def _eyes(p: np.ndarray) -> np.ndarray:
    """Depths (K,) with lids over the eyeball and the eyeball between them."""
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    near = gaussian(x - 31.0, 17.0) * gaussian(y + 1.0, 12.0) > 0.02
    x, y, base = x[near], y[near], z[near]
    depth = fissure_depth(x, y)
    lid = smooth_maximum(base, _sphere(x, y, cage.EYE_RADIUS + 1.5), 1.6) - 0.25
    _, upper = lid_rims(x)
    across = smoothstep(x, 17.0, 23.0) * (1 - smoothstep(x, 43.0, 49.0))
    lid = lid - 1.3 * across * gaussian(y - upper - 3.8, 1.0)  # supratarsal fold
    cornea = 1.1 * np.maximum(
        0.0, 1 - ((x - cage.EYE_CENTRE[0]) ** 2 + (y - cage.EYE_CENTRE[1]) ** 2) / 42.0
    )
    ball = smooth_maximum(_sphere(x, y, cage.EYE_RADIUS) + cornea, base - 1.6, 0.6)
    out = z.copy()
    out[near] = lid + (np.minimum(ball, lid - 0.2) - lid) * smoothstep(depth, 0.0, 1.0)
    return out


def mouth_line(x: np.ndarray) -> np.ndarray:
    """Height of the closed mouth at |x|, mm."""
    t = x / 26.0
    return -71.4 + 0.7 * np.exp(-(((t - 0.42) / 0.22) ** 2)) - 0.25 * np.exp(-((t / 0.16) ** 2))


def lip_borders(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the lower and upper vermilion border at |x|, mm."""
    t = np.clip(x / 26.0, 0.0, 1.0)
    line = mouth_line(x)
    upper = line + 8.2 * (1 - t**1.4) ** 0.95 - 1.5 * np.exp(-((x / 3.6) ** 2))
    lower = line - 9.2 * (1 - t**3.0) ** 1.1
    return lower, upper


def _lip_profile(t: np.ndarray, roll: float, bulge: float) -> np.ndarray:
    """Height over the base from the border (t = 0) to the closed mouth (t = 1), mm."""
    swell = bulge * np.sin(np.pi * np.clip(t, 0, 1) ** 0.85)
    u = np.clip((t - 0.45) / 0.55, 0, 1)
    return swell - roll * (1 - np.sqrt(np.clip(1 - u**2.2, 0, 1)))


def _mouth(p: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Offsets of depth (K,) by lips, philtrum and the folds about them."""
    x, y = np.abs(p[:, 0]), p[:, 1]
    line = mouth_line(x)
    lower, upper = lip_borders(x)
    wide = np.sqrt(np.clip(1 - (x / 26.0) ** 2, 0, 1))
    t_up = 1 - (y - line) / np.maximum(upper - line, 0.3)
    t_low = 1 - (line - y) / np.maximum(line - lower, 0.3)
    up = _lip_profile(np.minimum(t_up, 1), 4.0, 2.0) * (t_up > 0)
    low = _lip_profile(np.minimum(t_low, 1), 4.2, 2.6) * (t_low > 0)
    offset = np.where(side > 0, up, low) * wide * (x < 26.0)
    channel = smoothstep(y, -65.0, -61.0) * (1 - smoothstep(y, -53.5, -50.5))
    offset -= channel * (1.1 * gaussian(x, 2.4) - 0.5 * gaussian(x - 5.4, 1.8))
    corner = gaussian(np.hypot(x - 27.5, (y + 71.5) * 0.8), 2.2)
    return offset - 0.9 * corner


def nostril_depth(p: np.ndarray) -> np.ndarray:
    """How deep (K,) in a nostril base positions lie, 0..1."""
    x = np.abs(p[:, 0])
    along, across = np.array([0.46, 0.0, -0.89]), np.array([0.89, 0.0, 0.46])
    d = np.stack([x - 7.4, p[:, 1] + 47.5, p[:, 2] - 3.6], axis=1)
    r = np.sqrt((d @ along / 5.4) ** 2 + (d @ across / 3.1) ** 2 + (d[:, 1] / 4.0) ** 2)
    return 1 - smoothstep(r, 0.25, 1.05)


def _nostrils(p: np.ndarray) -> np.ndarray:
    """Offsets (K, 3) that sink the nostrils up into the nose."""
    return 4.2 * nostril_depth(p)[:, None] * np.array([0.0, 1.0, -0.55])


def _wings(p: np.ndarray) -> np.ndarray:
    """Offsets (K, 3) along the alar groove, which parts the nose wing from cheek and tip."""
    x, y = np.abs(p[:, 0]), p[:, 1]
    angle = np.arctan2(y + 42.5, (p[:, 2] + 3.0))
    r = np.hypot(y + 42.5, p[:, 2] + 3.0)
    ring = gaussian(r - 8.0, 1.3) * smoothstep(np.abs(angle), 1.0, 1.7) * smoothstep(y, -50, -45)
    return -(1.0 * ring * (x > 8))[:, None] * np.stack(
        [np.sign(p[:, 0]) * 0.8, 0 * x, 0 * x + 0.6], axis=1
    )


def _ears(chart: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Offsets (K, 3) of the front of the ears: tragus, concha, rim flaring outwards."""
    side = np.sign(chart[:, 0])
    back = -(p[:, 2] + 101.0)  # 0 at the tragus, grows backwards
    up = p[:, 1] + 22.0
    mask = smoothstep(up, -36, -26) * (1 - smoothstep(up, 28, 36))
    flare = 15.0 * smoothstep(back, 0.0, 26.0)
    tragus = 3.0 * gaussian(np.hypot(back - 1.0, (up + 1.0) * 0.8), 3.2)
    concha = -5.0 * gaussian(np.hypot(back - 9.0, up * 0.7), 5.5)
    out = (flare + tragus + concha) * mask
    return out[:, None] * np.stack([side, 0 * side, 0.25 + 0 * side], axis=1)


def surface(chart: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Positions (K, 3), mm, of chart points (K, 2); `side` (K,) is -1 for the lower lip, +1 above."""
    p = base_surface(chart)
    p = p + _wings(p)
    relief = p.copy()
    relief[:, 2] = _eyes(p)
    relief[:, 2] += _mouth(p, side)
    relief += _nostrils(p) + _ears(chart, p)
    return relief
