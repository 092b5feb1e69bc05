"""Where the 68 iBUG points lie on the Basel models of 2017 and 2019.

The files name some sixty points of their own (`metadata/landmarks/json`), none of the jaw's outline. The
68 points are known by their places on the mean of the 2017 model, mean expression included; where a
file's named points lie elsewhere than that model's, the 68 are carried along by the thin-plate spline
that moves the one set of named points to the other. So one table serves all masks and both years, and
none of them by vertex numbers, which differ from file to file.

Sources. POINTS: `data/BFM2017_nomouth/landmarks_68.csv` of github.com/kanonet/face-avatar-reconstruction,
rounded to 0.1 mm. That they lie on the mean with its expression is inferred: their lips are 5.6 mm apart,
the named ones touch. NAMED: landmarks of a Basel file as a public reader lists them, rounded; nose tip
and inner eye corners agree with POINTS within 3 mm, so both are in one frame.
"""

from __future__ import annotations

import json

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from hrnfit.model.format_error import ModelFormatError

# fmt: off
POINTS = np.array([
    (-73.8, 31.1, 24.8), (-71.5, 10.1, 34.4), (-68.0, -9.1, 44.2), (-64.9, -28.0, 46.7),
    (-58.8, -46.0, 47.3), (-47.6, -60.2, 61.6), (-33.6, -71.3, 72.5), (-17.3, -79.8, 84.0),
    (0.3, -82.0, 89.9), (17.2, -80.2, 82.3), (32.7, -69.8, 77.3), (48.1, -60.1, 60.7),
    (58.5, -44.6, 52.3), (65.1, -27.7, 42.8), (67.0, -7.9, 47.9), (70.2, 11.8, 44.9),
    (71.3, 31.1, 34.0), (-60.5, 44.9, 73.6), (-50.1, 53.7, 91.7), (-36.5, 56.1, 102.0),
    (-23.6, 54.0, 107.6), (-11.6, 48.8, 108.3), (11.1, 49.1, 108.3), (23.1, 54.1, 107.5),
    (35.8, 56.2, 101.8), (49.2, 54.0, 91.7), (59.8, 45.2, 73.2), (-0.1, 36.1, 109.8),
    (-0.1, 24.6, 117.6), (-0.0, 13.3, 125.5), (0.3, 2.0, 131.4), (-13.8, -8.7, 107.3),
    (-7.2, -10.2, 111.8), (-0.1, -11.8, 114.0), (6.9, -10.3, 111.7), (13.4, -8.7, 107.4),
    (-43.5, 33.9, 88.2), (-35.5, 36.7, 95.0), (-27.3, 36.6, 95.3), (-19.0, 32.6, 92.3),
    (-27.6, 31.4, 94.5), (-35.9, 31.3, 93.8), (18.3, 32.5, 92.1), (26.5, 36.3, 95.0),
    (34.8, 36.5, 94.9), (42.7, 33.9, 88.2), (35.2, 31.2, 93.7), (26.5, 31.4, 94.1),
    (-27.8, -32.5, 93.3), (-17.4, -28.3, 106.0), (-7.6, -25.4, 112.3), (-0.1, -27.4, 112.8),
    (7.1, -25.3, 112.3), (16.5, -28.0, 106.4), (26.7, -32.2, 93.5), (17.4, -40.7, 102.8),
    (8.2, -43.9, 107.7), (0.1, -44.5, 108.7), (-7.9, -43.8, 108.0), (-17.7, -40.8, 102.8),
    (-23.0, -33.2, 96.2), (-7.2, -30.1, 108.5), (0.2, -30.3, 109.7), (6.6, -30.2, 108.6),
    (22.4, -33.1, 96.0), (7.7, -35.3, 106.8), (0.0, -35.9, 108.2), (-7.5, -35.2, 107.0),
])
"""iBUG points, (68, 3) mm, frame of the file."""

NAMED: dict[str, tuple[float, float, float]] = {
    "center.chin.tip": (-0.1, -73.4, 103.0), "center.front.trichion": (-0.4, 84.9, 104.6),
    "center.lips.lower.outer": (0.0, -41.5, 111.8), "center.lips.upper.outer": (0.0, -26.2, 115.3),
    "center.nose.attachement_to_philtrum": (0.0, -11.0, 116.1), "center.nose.tip": (0.2, 1.0, 131.8),
    "left.ear.lobule.attachement": (66.3, -17.3, 16.2), "left.ear.tragus.tip": (72.5, 4.9, 14.0),
    "left.eye.bottom": (30.8, 28.9, 93.8), "left.eye.corner_inner": (16.2, 31.9, 93.0),
    "left.eye.corner_outer": (43.0, 32.6, 86.7), "left.eye.top": (30.8, 37.2, 95.3),
    "left.eyebrow.bend.lower": (46.9, 49.0, 95.0), "left.eyebrow.inner_lower": (19.1, 48.1, 105.9),
    "left.lips.corner": (23.5, -33.2, 98.0), "left.lips.philtrum_ridge": (5.5, -25.0, 114.8),
    "left.nasolabial_fold.bottom": (36.2, -32.8, 93.8), "left.nose.wing.outer": (17.5, -2.8, 103.7),
    "left.nose.wing.tip": (13.7, -10.4, 106.0),
    "right.ear.lobule.attachement": (-66.5, -17.6, 15.7), "right.ear.tragus.tip": (-73.9, 4.8, 13.8),
    "right.eye.bottom": (-31.7, 28.7, 93.8), "right.eye.corner_inner": (-17.1, 31.8, 93.1),
    "right.eye.corner_outer": (-44.0, 32.4, 86.6), "right.eye.top": (-31.6, 37.1, 95.3),
    "right.eyebrow.bend.lower": (-47.6, 48.4, 95.4),
    "right.eyebrow.inner_lower": (-19.7, 47.7, 106.1),
    "right.lips.corner": (-23.7, -33.5, 98.3), "right.lips.philtrum_ridge": (-5.5, -25.0, 114.8),
    "right.nasolabial_fold.bottom": (-36.4, -33.0, 94.3),
    "right.nose.wing.outer": (-17.7, -2.9, 104.0), "right.nose.wing.tip": (-13.9, -10.6, 106.1),
}
"""Named points, mm: those that lie on every mask and on no flap of the ear."""
# fmt: on

FEWEST = 10
"""Named points that a warp needs."""

FARTHEST = 8.0
"""mm from a point to the nearest vertex, beyond which the mesh is not what the points were made for."""


def basel_points(named: dict[str, Float[np.ndarray, "3"]]) -> Float[np.ndarray, "68 3"]:
    """The 68 points in the frame of a file with these named points; as tabled when it names few."""
    known = [name for name in NAMED if name in named]
    if len(known) < FEWEST:
        return POINTS
    before = np.array([NAMED[name] for name in known])
    after = np.array([named[name] for name in known])
    move = RBFInterpolator(before, after - before, kernel="thin_plate_spline")
    return POINTS + move(POINTS)


def nearest_vertices(
    points: Float[np.ndarray, "68 3"], vertices: Float[np.ndarray, "N 3"], label: str
) -> Int[np.ndarray, "68"]:
    """The vertex at each point. Raises ModelFormatError when the mesh does not pass by them."""
    distance, index = KDTree(vertices).query(points)
    if distance.max() > FARTHEST:
        off = int(np.argmax(distance))
        raise ModelFormatError(
            f"{label}: iBUG point {off} would lie {distance[off]:.0f} mm off the mesh, so this is no "
            "mesh of the Basel group whose landmarks are known; give a folder with landmarks68.txt "
            "(68 vertex numbers from 0) by --extras"
        )
    return np.asarray(index, dtype=np.int64)


def named_points(text: bytes) -> dict[str, Float[np.ndarray, "3"]]:
    """Names and places of `metadata/landmarks/json` (a list of id and coordinates); none in a text
    that is no such list."""
    try:
        listed = json.loads(text.decode("utf-8"))
        places = {str(one["id"]): np.asarray(one["coordinates"], dtype=float) for one in listed}
    except (ValueError, KeyError, TypeError):
        return {}
    return {n: p for n, p in places.items() if p.shape == (3,) and bool(np.isfinite(p).all())}
