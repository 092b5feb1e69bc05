"""Two steps of Chebyshev iteration as three factors (Saad 2003, algorithm 12.1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chebyshev:
    """x1 = x0 + first D^-1 r0, then x2 = x1 + keep (x1 - x0) + second D^-1 r1."""

    first: float
    keep: float
    second: float

    @staticmethod
    def on(smallest: float, largest: float) -> Chebyshev:
        """For eigenvalues of D^-1 A in an interval."""
        middle, half = 0.5 * (largest + smallest), 0.5 * (largest - smallest)
        ratio = half / middle
        rho = 1.0 / (2.0 / ratio - ratio)
        return Chebyshev(1.0 / middle, rho * ratio, 2.0 * rho / half)
