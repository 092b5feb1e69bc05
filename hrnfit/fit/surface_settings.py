"""Settings of a `surface` stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class SurfaceSettings:
    """One refit."""

    LEAVES: ClassVar[tuple[str, ...]] = ("identity", "expression", "pose", "deformation")
    size: int = 256
    """Window in which visibility is looked at, px."""
    texels: int = 64
    """Texels per side of the chart at which model and surface are compared."""
    blur: float = 0.0
    kernel_scale: float = 1.0
    offset: float = 0.0
    """These three are those of every look at the skin; visibility, which is all that a refit asks for,
    does not depend on them."""
    rounds: int = 10
    """Times the nearest points are looked for anew."""
    anneal: float = 10.0
    """The first round takes the noise for so many times as large, each later one for 0.6 of the one
    before: far from the surface, nearest points are wrong ones."""
    steps: int = 10
    gap: float = 0.7
    """Standard deviation of the gap between model and surface, mm."""
    reach: float = 30.0
    """Distance over which the gap is alike, mm."""
    noise: float = 0.1
    """Standard deviation of the surface's own error, mm."""
    identity_deviation: float = 1.0
    """Prior on identity, standard deviations of the model."""
    expression_deviation: float = 0.1
    """Prior on activations of blendshapes; other expressions use 1, their own standard deviation."""
    smoothness: float = 1e-2
    """Of the new deformation map where the surface does not say it."""
