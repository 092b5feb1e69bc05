"""Published craniofacial distances of adults: mean and SD, mm, men and women.

[N] Head-and-face anthropometric survey of U.S. respirator users, NIOSH 2003 (Z. Zhuang and
    B. Bradtmiller, J. Occup. Environ. Hyg. 2 (2005) 567-576): unweighted means and SDs computed
    from the published table of 3,997 individuals (2,543 men, 1,454 women; missing values left out).
[F] L. G. Farkas, Anthropometry of the Head and Face, 2nd ed., Raven Press 1994 (North American
    Caucasians, 19-25 years), and [A] C. C. Gordon et al., 1988 Anthropometric Survey of U.S. Army
    Personnel, Natick 1989: written down from memory, not checked against the printed tables.
The population of the model is half men and half women.
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
    "go": (57, -83.5, -89), "t": (70.5, -22, -104), "ft": (52.6, 21, -40), "fz": (62.0, 30, -62),
    "os": (32, 17, -15.5), "or": (31, -21, -19), "ck": (50, -27, -30),
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


def _across(name: str, point: str, men, women, source: str) -> Distance:
    return Distance(name, point, point, men, women, source, paired=True)


DISTANCES: tuple[Distance, ...] = (
    _across("bizygomatic breadth", "zy", (143.9, 6.9), (136.2, 6.5), "N"),
    _across("bitragion breadth", "t", (144.5, 5.7), (133.0, 5.1), "A"),
    _across("bigonial breadth", "go", (120.7, 10.7), (111.6, 9.3), "N"),
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


ALL: tuple[Distance | Arc, ...] = (*DISTANCES, *ARCS)
"""Everything that is measured, in the order of `measure.Ruler`."""
