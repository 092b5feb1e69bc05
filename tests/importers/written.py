"""Files in the exact formats of others, written by the tests with random bases.

A writer makes a file from raw arrays and says, from these arrays alone and without the library, what
the model must be after import. `WRITERS` is the table that the conformance tests run through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hrnfit.importers.kinds import ImportOptions


@dataclass(frozen=True)
class Written:
    """A file, and what it means."""

    kind: str
    path: Path
    shape: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Identity (I,) and expression (E,) to vertices (N, 3), mm, head frame: slow and plain."""
    n_identity: int
    n_expression: int
    marks: np.ndarray
    """Places of the 68 iBUG points on the mean, (68, 3) mm; NaN where the format has none."""
    n_albedo: int | None = None
    """None where the format has no colours."""
    colour: Callable[[np.ndarray], np.ndarray] | None = None
    """Albedo coefficients (A,) to linear RGB (N, 3) at the vertices."""
    colour_tolerance: float = 0.02
    """Resampling a vertex colour in the chart costs so much."""
    options: ImportOptions = field(default_factory=ImportOptions)
    needed: tuple[str, ...] = ()
    """Keys without which the file is no model."""
    tolerance: float = 0.02
    """mm that float16 in our file may cost at two standard deviations."""


def smooth_fields(rng: np.random.Generator, points: np.ndarray, count: int) -> np.ndarray:
    """Random smooth vector fields (count, N, 3) of unit RMS over points (N, 3) in mm."""
    fields = []
    for _ in range(count):
        waves = rng.normal(size=(6, 3)) / 60.0
        phase, direction = rng.uniform(0, 6.3, 6), rng.normal(size=(6, 3))
        value = np.cos(points @ waves.T + phase) @ direction
        fields.append(value / np.sqrt((value**2).mean()))
    return np.array(fields).reshape(count, *points.shape)
