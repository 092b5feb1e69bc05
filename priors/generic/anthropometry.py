"""Published craniofacial measurements of adults: mean and SD, mm, men and women.

[N] Head-and-face anthropometric survey of U.S. respirator users, NIOSH 2003 (Z. Zhuang and
    B. Bradtmiller, J. Occup. Environ. Hyg. 2 (2005) 567-576): unweighted means and SDs computed
    from the published table of 3,997 individuals (2,543 men, 1,454 women; missing values left out).
[K] W. W. Howells, Cranial variation in man, Peabody Museum 1973: means and SDs computed from the
    published table of individuals (Norse, Zalavar and Berg skulls, 164 men and 153 women).
The rest was written down from memory and not checked against the printed tables:
[n] two more breadths of the NIOSH survey;
[F] L. G. Farkas, Anthropometry of the Head and Face, 2nd ed., Raven Press 1994 (North American
    Caucasians, 19-25 years);
[A] C. C. Gordon et al., 1988 Anthropometric Survey of U.S. Army Personnel, Natick 1989;
[D] depths of the face as in Farkas 1994 and in the 3D Facial Norms (S. M. Weinberg et al., Cleft
    Palate Craniofac. J. 53 (2016) e185-e197), rounded between the two;
[V] G. W. Arnett et al., Soft tissue cephalometric analysis, Am. J. Orthod. Dentofacial Orthop. 116
    (1999) 239-253: depths against the true vertical line through subnasale;
[M] A. Migliori and G. Gladstone, Am. J. Ophthalmol. 98 (1984) 438-442: Hertel exophthalmometry;
[H] headboard depths of [A], men and women averaged; second hand, from a comment in the source of a
    virtual-reality library;
[B] the sellion between upper lash line and lid fold, as the rhinoplasty literature says (J. H.
    Sheen; H. S. Byrd).
Soft tissue over bone (for [K], and for PRESSED) is that of J. S. Rhine and C. E. Moore 1984, from
memory. The population of the model is half men and half women.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POINTS: dict[str, tuple[float, float, float]] = {
    # soft-tissue landmarks on the mean surface, frame of `cage`, subject's left or midline
    "tr": (0, 70, -22.5), "fr": (0, 27, -11.5), "g": (0, 19, -8.2), "n": (0, 5, -11), "prn": (0, -40.5, 15.8),
    "sn": (0, -50, 0), "ls": (0, -64.6, 1.5), "sto": (0, -71.5, -2), "li": (0, -80.5, -1),
    "sl": (0, -88, -8), "pg": (0, -101, -8), "gn": (0, -117.5, -14.7),
    "en": (16.2, -1.6, -26), "ex": (44.9, 1, -34), "pu": (31.4, -0.3, -19),
    "ps": (30.5, 5.0, -19), "pi": (31.5, -5.6, -19), "al": (17.2, -41.5, -7.5),
    "sbal": (8.5, -49.8, -3.5), "ac": (16.2, -47, -10.5), "mf": (8.4, 2, -18),
    "cph": (5.6, -63.8, 3), "ch": (25.2, -71.3, -11), "zy": (69.2, -22, -78),
    "go": (57, -83.5, -89), "t": (70.5, -22, -104), "ft": (52.6, 21, -40), "fz": (55.2, 11.5, -40),
    "or": (31.4, -17, -19), "ck": (47, -22, -22.5), "sp": (31.4, -34, -15.5), "ab": (18.5, -48.5, -11.5),
    "a'": (0, -57.5, -1.2), "ula": (0, -67.5, 2.5), "lla": (0, -76.5, 2), "c": (0, -126, -60),
    "lo": (50, 0, -32), "eu": (72, 45, -118), "fmo": (52.5, 11.5, -33), "ek": (53, -1, -37),
    "zo": (28, -17, -19),
}  # fmt: skip


@dataclass(frozen=True)
class Distance:
    """One published distance."""

    name: str
    a: str
    b: str
    men: tuple[float, float]
    """Mean and SD, mm."""
    women: tuple[float, float]
    source: str
    paired: bool = False
    """Between the left and the right point of the same name."""


UNKNOWN = float("nan")
"""An SD that no source gives: the number shapes the mean, not the spread."""

PRESSED = 4.4
"""How much callipers press the soft tissue in at the sides of the face, mm. Bone and soft tissue add
up to more than the survey's breadths: at the zygomata 129.9 [K] + 2 x 7.4 against 140.1, at the
gonia 97 (from memory) + 2 x 11.8 against 116.2."""

HEAVIER = 1.031
"""Bizygomatic breadth of [N] over that of [A]: makes a breadth of [A] one of the same people."""


def _across(name: str, point: str, men, women, source: str) -> Distance:
    return Distance(name, point, point, men, women, source, paired=True)


DISTANCES: tuple[Distance, ...] = (
    _across("bizygomatic breadth", "zy", (143.9 + PRESSED, 6.9), (136.2 + PRESSED, 6.5), "N"),
    _across("bitragion breadth", "t", (144.5 * HEAVIER, 5.7), (133.0 * HEAVIER, 5.1), "A"),
    _across("bigonial breadth", "go", (120.7 + PRESSED, 10.7), (111.6 + PRESSED, 9.3), "N"),
    _across("minimum frontal breadth", "ft", (105.7, 5.8), (103.2, 5.5), "N"),
    _across("interpupillary distance", "pu", (65.1, 3.8), (63.1, 4.0), "N"),
    _across("intercanthal width", "en", (33.3, 2.7), (31.8, 2.3), "F"),
    _across("biocular width", "ex", (91.2, 3.0), (87.8, 3.2), "F"),
    _across("nose width", "al", (37.8, 4.8), (35.8, 4.9), "N"),
    _across("nasal root breadth", "mf", (16.7, 2.3), (16.6, 2.0), "N"),
    _across("lip length", "ch", (51.7, 4.3), (49.2, 4.5), "N"),
    _across("philtrum width", "cph", (11.1, 1.3), (9.8, 1.3), "F"),
    Distance("face length, menton-sellion", "n", "gn", (123.2, 7.2), (114.2, 6.5), "N"),
    Distance("lower face height", "sn", "gn", (72.6, 4.5), (64.3, 4.0), "F"),
    Distance("nose length, subnasale-sellion", "n", "sn", (51.9, 4.1), (47.7, 3.8), "N"),
    Distance("nasal protrusion", "sn", "prn", (20.8, 2.7), (18.9, 2.7), "N"),
    Distance("nasal bridge length", "n", "prn", (50.0, 3.6), (44.7, 3.4), "F"),
    Distance("upper lip height", "sn", "sto", (22.3, 2.1), (20.1, 2.0), "F"),
    Distance("cutaneous upper lip", "sn", "ls", (15.9, 2.1), (13.6, 1.9), "F"),
    Distance("upper vermilion height", "ls", "sto", (8.0, 1.3), (8.4, 1.2), "F"),
    Distance("lower vermilion height", "sto", "li", (9.3, 1.6), (9.2, 1.2), "F"),
    Distance("lower lip height", "sto", "sl", (19.2, 2.0), (17.8, 1.8), "F"),
    Distance("forehead height", "tr", "n", (67.1, 7.5), (63.0, 6.0), "F"),
    Distance("palpebral fissure length", "en", "ex", (31.3, 1.2), (30.7, 1.2), "F"),
    Distance("palpebral fissure height", "ps", "pi", (10.8, 0.9), (10.9, 1.2), "F"),
    Distance("mandible length", "go", "gn", (101.0, 6.0), (94.0, 5.2), "F"),
    _across("maximum frontal breadth", "fz", (112.3, 5.6), (108.6, 5.2), "n"),
    _across("head breadth", "eu", (153.0, 6.0), (146.8, 5.6), "n"),
    Distance("upper facial depth", "t", "n", (123.0, 5.0), (115.0, 4.5), "D"),
    Distance("middle facial depth", "t", "sn", (129.0, 5.0), (119.5, 4.5), "D"),
    Distance("lower facial depth", "t", "gn", (147.0, 6.0), (135.0, 5.0), "D"),
)


@dataclass(frozen=True)
class Offset:
    """One published position of a point along an axis of the head, seen from another point."""

    name: str
    origin: str
    point: str
    axis: int
    """1: height, upwards; 2: depth, forwards, of a head in natural posture, looking ahead."""
    men: tuple[float, float]
    """Mean and SD, mm, signed."""
    women: tuple[float, float]
    source: str


def _depth(name: str, point: str, men, women) -> Offset:
    """Depth against the vertical through subnasale, of Arnett et al."""
    return Offset(name, "sn", point, 2, men, women, "V")


OFFSETS: tuple[Offset, ...] = (
    _depth("glabella", "g", (-8.0, 2.5), (-8.5, 2.4)),
    _depth("orbital rim", "or", (-22.4, 2.7), (-18.7, 2.0)),
    _depth("cheek bone", "ck", (-25.2, 4.0), (-20.6, 2.4)),
    _depth("subpupil", "sp", (-18.4, 1.9), (-14.8, 2.1)),
    _depth("alar base", "ab", (-15.0, 1.7), (-12.9, 1.1)),
    # its SDs of 1.7 and 1.4 contradict the 2.7 of nasal protrusion in the survey
    _depth("nasal projection", "prn", (17.4, UNKNOWN), (16.0, UNKNOWN)),
    _depth("point A'", "a'", (-0.3, 1.0), (-0.1, 1.0)),
    _depth("upper lip anterior", "ula", (3.3, 1.7), (3.7, 1.2)),
    _depth("lower lip anterior", "lla", (1.0, 2.2), (1.9, 1.4)),
    _depth("point B'", "sl", (-7.1, 1.6), (-5.3, 1.5)),
    _depth("pogonion'", "pg", (-3.5, 1.8), (-2.6, 1.9)),
    Offset("throat length", "pg", "c", 2, (-61.4, 7.4), (-58.2, 5.9), "V"),
    Offset("exophthalmometry", "lo", "pu", 2, (16.5, 2.6), (15.4, 2.35), "M"),
    Offset("infraorbitale before tragion", "t", "or", 2, (80.5, UNKNOWN), (80.5, UNKNOWN), "H"),
    Offset("sellion over pupil", "pu", "n", 1, (6.0, UNKNOWN), (6.0, UNKNOWN), "B"),
)


@dataclass(frozen=True)
class Radius:
    """How much farther from the axis through both tragia a point lies than the nasion."""

    name: str
    point: str
    men: tuple[float, float]
    """Mean and SD, mm, signed."""
    women: tuple[float, float]
    source: str


RADII: tuple[Radius, ...] = (
    # bone, plus the share of the soft tissue that points away from the axis, less 6.0 at the nasion
    Radius("radius of subnasale", "sn", (-0.2 + 6.6, 3.5), (-0.2 + 6.6, 3.0), "K"),
    Radius("radius of prosthion", "a'", (4.9 + 2.6, 3.7), (5.0 + 2.6, 3.7), "K"),
    Radius("radius of zygoorbitale", "zo", (-14.2 + 0.3, 2.4), (-13.0 + 0.3, 2.3), "K"),
    Radius("radius of frontomalare", "fmo", (-18.1 - 1.8, 2.5), (-16.4 - 1.8, 2.6), "K"),
    Radius("radius of ectoconchion", "ek", (-23.7 - 2.0, 2.4), (-21.9 - 2.0, 2.5), "K"),
)


@dataclass(frozen=True)
class Arc:
    """One published tape measure, from tragion to tragion over a point of the midline."""

    name: str
    over: str
    men: tuple[float, float]
    women: tuple[float, float]
    source: str


ARCS: tuple[Arc, ...] = (
    Arc("bitragion frontal arc", "fr", (304.4, 12.9), (288.9, 12.3), "N"),
    Arc("bitragion subnasale arc", "sn", (296.3, 13.5), (282.5, 14.3), "N"),
    Arc("bitragion chin arc", "pg", (332.8, 15.8), (308.9, 16.3), "N"),
)


def population_mean(men: tuple[float, float], women: tuple[float, float]) -> float:
    """Mean of half men, half women."""
    return 0.5 * (men[0] + women[0])


def population_sd(men: tuple[float, float], women: tuple[float, float]) -> float:
    """SD of half men, half women: the spread within a sex and the difference between them."""
    within = 0.5 * (men[1] ** 2 + women[1] ** 2)
    return float(np.sqrt(within + (0.5 * (men[0] - women[0])) ** 2))


Row = Distance | Offset | Radius | Arc

ALL: tuple[Row, ...] = (*DISTANCES, *OFFSETS, *RADII, *ARCS)
"""Everything that is measured, in the order of `measure.Ruler`."""
