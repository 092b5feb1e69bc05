"""Settings of a `map` stage, and how far one step of it may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hrnfit.check import check_one_of
from hrnfit.fit.free_map import MAPS
from hrnfit.fit.map_border import OTHERS

TRIALS = ("anew", "held")

LIMITS = {"deformation": 2.0, "displacement": 0.3, "pose": 300.0, "log_focal": 0.2}
"""Longest step by leaf: of a vector of a map, mm, and of each value otherwise."""


@dataclass(frozen=True)
class MapSettings:
    """One level of the coarse-to-fine solve."""

    LEAVES: ClassVar[tuple[str, ...]] = (*MAPS, *OTHERS)
    size: int = 512
    """Window, px."""
    texels: int = 256
    """Texels per side of the chart at which views are compared; an even multiple of the map's."""
    blur: float = 0.7
    """Gaussian on the windows, px."""
    steps: int = 10
    tolerance: float = 2e-3
    """Ends when three steps together lowered the energy by less than this fraction."""
    kernel_scale: float = 0.6
    """Geman-McClure scale of the colour residual, tenths of the gamma range."""
    offset: float = 0.015
    """Width of the smooth light field per view, share of the UV square; 0 switches it off."""
    membrane: float = 1e-3
    bending: float = 1e-2
    size_prior: float = 1e-5
    """Weights of squared first and second differences and of the map itself, mm."""
    spread: float = 0.03
    """Weight of the squared distance of displacement rows from their mean, mm; see `free_map`."""
    trial: str = "anew"
    """What a step is tried on: `anew`, what the views see where it leads; `held`, what they saw where it began,
    when only the map moves. `held` refuses no step because a texel turns hidden, so rounding decides less: starts
    1e-4 mm apart end 0.02 mm apart instead of 0.10 (five views), in two thirds of the time; but soft late stages then fit
    what little small photographs show (128 px: 0.25 to 0.59 mm instead of 0.22 to 0.40)."""
    pose_deviation: float = 100.0
    """Prior on the head's move within the stage, mm and (per `POSE_ARM`) rad."""
    focal_deviation: float = 0.3
    """Prior on the change of log focal length."""

    def __post_init__(self) -> None:
        check_one_of("trial", self.trial, TRIALS)

    @property
    def holds(self) -> bool:
        """Whether a step of the map alone is tried on what was seen before it."""
        return self.trial == "held"
