"""Albedo for models that have none: a mean skin and a smooth basis over the chart.

The basis is a Gaussian process cut to its strongest modes: products of cosines over the unit square
(the eigenfunctions of a stationary kernel with free ends), whose variance falls with frequency, times
three directions of skin colour. Melanin and haemoglobin absorb most in blue and green respectively;
their directions in log RGB follow the usual two-pigment view of skin (Tsumura et al. 2003, fig. 5).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

MEAN_SKIN = (0.46, 0.27, 0.19)
"""Linear RGB of a medium skin."""

PIGMENTS = (
    (1.0, (0.16, 0.24, 0.30)),
    (0.5, (0.05, 0.24, 0.20)),
    (0.6, (0.20, 0.20, 0.20)),
)
"""Strength, and absorption in log RGB, of melanin, haemoglobin and plain luminance."""

GLOBAL_STD = 1.6
"""Standard deviation of the constant modes against the first cosine: people differ more than
places of one face."""


def smooth_albedo(
    count: int = 60, size: int = 64, length: float = 0.18
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "A h w 3"]]:
    """Mean map and basis (linear RGB per standard deviation), strongest modes first.

    `count`: modes, at most 80 are useful. `size`: texels per side of both maps (the fit enlarges).
    `length`: correlation length in UV units; 0.18 is about 35 mm on a face.
    """
    mean = torch.tensor(MEAN_SKIN).expand(size, size, 3).clone()
    modes = _strongest(count, length)
    centre = (torch.arange(size) + 0.5) / size
    basis = torch.zeros(count, size, size, 3)
    for index, (std, row, column, pigment) in enumerate(modes):
        wave = torch.cos(math.pi * row * centre)[:, None] * torch.cos(math.pi * column * centre)
        colour = -torch.tensor(MEAN_SKIN) * torch.tensor(PIGMENTS[pigment][1])
        basis[index] = std * wave[..., None] * colour
    return mean, basis


def _strongest(count: int, length: float) -> list[tuple[float, int, int, int]]:
    """(standard deviation, row frequency, column frequency, pigment) by falling strength."""
    found: list[tuple[float, int, int, int]] = []
    for row in range(16):
        for column in range(16):
            squared = math.pi**2 * (row**2 + column**2)
            fall = math.exp(-0.25 * length**2 * squared)
            std = GLOBAL_STD if row == column == 0 else 0.5 * fall * math.sqrt(2.0)
            found += [(std * PIGMENTS[p][0], row, column, p) for p in range(3)]
    return sorted(found, key=lambda mode: (-mode[0], mode[1:]))[:count]
