"""Control points of the mean face: where the surface passes, in mm.

Frame of this file: y up from the line of the pupils, z out of the face from subnasale, x to the
subject's left; half a face, mirrored by `surface.py`. The midline follows soft-tissue cephalometric
norms (Arnett et al. 1999: depths against the vertical through subnasale, means of both sexes:
glabella -8.3, nasal tip +16.7, upper lip +3.5, lower lip +1.5, B' -6.2, pogonion -3.0, drawn 3 deeper; orbital rim
-20.5, cheek bone -23, subpupil -16.6, alar base -14) and the heights of Farkas 1994; the widths of
the rows follow NIOSH 2005 (bizygomatic, bigonial, bitragion, frontal breadths). What no table
gives (how a cheek bends between two measured points) is drawn by hand.
"""

from __future__ import annotations

import numpy as np

AXIS_Z = -85.0
"""Depth of the vertical axis about which the chart is unwrapped, mm."""
RADIUS = 80.0
"""Chart length per radian about that axis, mm."""

ROWS: tuple[tuple[float, tuple[tuple[float, float], ...]], ...] = (
    # height y, then (x, z) from the midline to the side
    (88.0, ((0, -46.8), (22, -49.6), (42, -59.3), (58, -75.9), (68, -96.7), (70, -114.7))),
    (
        72.0,
        ((0, -32.7), (18, -35.1), (36, -43.3), (52, -57), (63, -75.8), (69, -97.7), (71, -118.6)),
    ),
    (
        56.0,
        ((0, -21.8), (18, -23.7), (35, -30.9), (50, -44.1), (61, -62.4), (68, -85.3), (72, -118.4)),
    ),
    (
        42.0,
        ((0, -15.7), (18, -16.9), (34, -22.4), (48, -34.4), (58, -50.7), (66, -73.8), (72, -117.9)),
    ),
    (
        29.0,
        ((0, -12.1), (16, -13.1), (30, -17.1), (43, -25.6), (53, -38.9), (61, -57.9), (69, -91.2)),
    ),
    (19.0, ((0, -9.1), (10, -9.2), (20, -11), (32, -15), (43, -21.2), (51, -31.3), (58, -47.8))),
    (19.0, ((64, -66), (70, -94.6), (73, -123.9))),
    (11.5, ((0, -9.5), (7, -10.3), (14, -13.3), (22, -16.1), (32, -18.2), (42, -21.5), (50, -30))),
    (11.5, ((57, -44), (64, -64.4), (70, -94.1), (73, -123.5))),
    (3.0, ((0, -11.6), (5, -13.8), (9, -18.4), (13, -21.6), (50, -33.7), (56, -43.5), (63, -61.4))),
    (3.0, ((70, -93.8),)),
    (-8.0, ((0, -6.8), (5, -10), (9.5, -17.1), (14, -22.4), (50, -30.1), (57, -40.9), (64, -57.5))),
    (-8.0, ((70, -87.9), (74, -123.5))),
    (-15.0, ((18, -20.7), (25, -20), (33, -19.6), (41, -20.8))),
    (-20.0, ((0, 1.2), (5, -2.6), (9.5, -11), (14, -17.2), (20, -18.7), (30, -17.6))),
    (-20.0, ((40, -18.2), (50, -24.2), (58, -37.1), (64.5, -54.1), (69, -75.3), (71, -95.6))),
    (-20.0, ((74, -123.9),)),
    (
        -30.0,
        ((0, 8.7), (5, 5.4), (9.5, -2.5), (13.5, -10.2), (18, -14.1), (25, -15.5), (33, -15.8)),
    ),
    (-30.0, ((42, -17.8), (51, -25.5), (59, -40.3), (65, -58.7), (69, -79.8))),
    (-36.5, ((0, 14), (5, 12), (9.5, 5.5), (20, -12.9))),
    (-40.5, ((0, 15.5), (4.5, 14.2), (8.5, 9.4), (12.3, 3.9), (15.4, -1.6), (17.2, -7.5))),
    (-41.0, ((20.5, -12.3), (25, -13.2), (33, -14.2), (42, -17.4), (51, -26.9), (58.5, -43.1))),
    (-41.0, ((64.5, -61.9), (68, -82.9), (70, -101.1))),
    (-52.0, ((14, -8.6), (20, -10.6), (28, -12.7), (36, -15.2), (45, -21.8), (53, -35.3))),
    (-52.0, ((60, -54.4), (64.5, -74.2), (67, -97))),
    (-61.0, ((9, -2), (16, -6.1), (24, -10.6), (32, -14.1), (41, -21), (50, -34.8), (57, -53))),
    (-61.0, ((62, -73.6), (65, -96.9), (66, -121))),
    (
        -72.0,
        ((32, -14.6), (39, -21), (47, -33.5), (54, -50.6), (59, -70.7), (62, -93), (63, -119.1)),
    ),
    (-83.0, ((10, -5.9), (19, -10), (27, -14.7), (35, -21.7), (43, -33.8), (50, -49.7))),
    (-83.0, ((55.3, -69), (58, -87.1))),
    (-90.0, ((0, -8.1), (8, -8.9), (16, -12.5), (25, -19.1), (34, -29.9))),
    (-101.0, ((0, -6.9), (7, -7.8), (14, -11.8), (22, -19.6), (30, -30.6), (37, -44.3))),
)
"""Horizontal sections of the skin, without the relief of eyes, nostrils and lips."""

POINTS: tuple[tuple[float, float, float, float | None], ...] = (
    # x, y, z, chart height (None: y)
    (0, -25, 5.3, None),  # dorsum
    (0, -46.2, 11, -45.3),  # columella
    (0, -49, 3.2, -49.3),
    (0, -50, -0.8, -52.0),  # subnasale
    (4.2, -45.2, 10.5, -45.2),  # nostril rims
    (9, -46.2, 4.5, -46.3),
    (13.2, -47, -2.4, -47.0),
    (14.8, -46, -8.2, -48.0),
    (6, -49.8, -1.9, -51.4),  # nostril sills
    (10.5, -50, -5.6, -51.0),
    (0, -57.5, -1, None),  # philtrum
    (6, -58, -0.7, None),
    (0, -64.5, 0.5, None),  # base of the lips, without their roll
    (6, -63.8, 0.4, None),
    (13, -66, -2.1, None),
    (20, -68.6, -6.1, None),
    (26, -71.2, -11.1, None),
    (0, -71.5, 0.5, None),
    (10, -71.2, -0.7, None),
    (18, -71.2, -5.3, None),
    (0, -80, -1, None),
    (9, -79.5, -2.2, None),
    (17, -76.8, -6.2, None),
    (22, -74.5, -9, None),
    (0, -85, -5.1, None),
    (0, -111, -9.5, None),  # chin and lower border of the jaw
    (10, -110.5, -11.3, None),
    (0, -117.5, -15.7, -119),
    (11, -116.5, -18.4, -119),
    (22, -112.5, -25.3, -117),
    (31, -107, -38.5, -112),
    (39, -101, -52.6, -107),
    (47.4, -94.8, -67, -99),
    (54.2, -88.5, -80, -92),
    (57, -84.5, -91, -88),
    (0, -120.5, -24, -133),  # under the jaw
    (14, -119.5, -27, -133),
    (27, -115.5, -44, -129),
    (37, -109, -60, -124),
    (45, -101, -76, -117),
    (50, -93, -90, -107),
    (0, -121.5, -44, -153),
    (18, -120.5, -50, -152),
    (33, -117, -68, -147),
    (44, -109, -86, -138),
    (51, -98, -100, -125),
    (0, -127, -61, -172),  # throat and neck
    (20, -127, -68, -170),
    (38, -125, -84, -165),
    (49, -119, -100, -157),
    (55, -106, -116, -142),
    (0, -148, -66, -194),
    (20, -148, -73, -193),
    (39, -146, -87, -190),
    (51, -142, -105, -184),
    (57, -132, -122, -172),
    (66, -50, -112, None),  # behind the jaw, below the ear
    (71, -45, -126, None),
    (60, -88, -120, None),
)

EYE_CENTRE = np.array([31.4, -0.3, -31.6])
EYE_RADIUS = 12.1
ENDOCANTHION = np.array([16.2, -1.6])
EXOCANTHION = np.array([44.9, 1.0])


def chart_from_point(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Horizontal chart coordinate of points (K,), mm."""
    return RADIUS * np.arctan2(x, z - AXIS_Z)


def control_points() -> tuple[np.ndarray, np.ndarray]:
    """Chart (K, 2) and position (K, 3) of every control point, both halves."""
    rows = [(x, y, z, y) for y, section in ROWS for x, z in section]
    points = [(x, y, z, y if b is None else b) for x, y, z, b in POINTS]
    table = np.array(rows + points, dtype=float)
    chart = np.stack([chart_from_point(table[:, 0], table[:, 2]), table[:, 3]], axis=1)
    side = table[:, 0] > 0
    chart = np.concatenate([chart, chart[side] * [-1, 1]])
    position = np.concatenate([table[:, :3], table[side, :3] * [-1, 1, 1]])
    return chart, position
