"""Settings of a `map` stage, and how far one step of it may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hrnfit.fit.free_map import MAPS
from hrnfit.fit.map_border import OTHERS

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
    slack: float = 0.0
    """A step may raise the energy by this fraction; see `GaussNewton.slack`."""
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
    sliding: float = 0.0
    """Weight of the squared move of a deformation along the surface since the stage began, mm; see `sliding.py`."""
    pose_deviation: float = 100.0
    """Prior on the head's move within the stage, mm and (per `POSE_ARM`) rad."""
    focal_deviation: float = 0.3
    """Prior on the change of log focal length."""
