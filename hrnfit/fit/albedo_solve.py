"""Albedo of texels under known light: a ratio per texel, the model's coefficients, and what no view sees.

Everything here is in shapes that depend on no value, so that a GPU can record it with the light's solve.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.energy.texels import Texels
from hrnfit.geometry.definite import solve_definite
from hrnfit.geometry.map_fill import fill
from hrnfit.model.face_model import FaceModel
from hrnfit.render.texture import resized_map

DARKEST = 0.01
"""Albedo below which a ratio of two means nothing."""
SWEEPS = 10
"""Of the fill, per level: it need not be exact, and 40 took 10 s at 1024 texels per side."""
LARGEST = 1.0
"""Logarithm of the largest factor by which unseen skin may differ from the model's."""
COARSE = 64
"""Texels per side at which the model's albedo coefficients are fitted."""


@dataclass(frozen=True)
class AppearanceSettings:
    """Strength of the priors, against the mean weight of a texel."""

    light_ridge: float = 1e-3
    """On the bands of the light above the constant."""
    coefficient_ridge: float = 2e-2
    """On the albedo coefficients, per squared standard deviation."""
    least_shading: float = 0.05
    """Shading below which a texel says nothing about its albedo."""


def shaded(basis: Float[Tensor, "V P 9"], light: Float[Tensor, "V 9 3"]) -> Float[Tensor, "V P 3"]:
    return basis @ light


def lit(
    weight: Float[Tensor, "V P"], shading: Float[Tensor, "V P 3"], settings: AppearanceSettings
) -> Float[Tensor, "V P"]:
    """Weight of what enough light of every colour falls on. Decided by channel, skin in the shade kept
    its red and green and took its blue from the model: it turned yellow."""
    return weight * (shading > settings.least_shading).all(-1)


def solve_albedo(
    colour: Tensor, weight: Tensor, shading: Tensor, prior: Tensor, settings: AppearanceSettings
) -> Float[Tensor, "P 3"]:
    """Per-texel least squares with a whisper of the model's albedo, which decides where none sees."""
    w = lit(weight, shading, settings)[..., None]
    return albedo_of((w * shading * colour).sum(0), (w * shading.square()).sum(0), prior)


def albedo_of(
    top: Float[Tensor, "P 3"], bottom: Float[Tensor, "P 3"], prior: Float[Tensor, "P 3"]
) -> Float[Tensor, "P 3"]:
    """The ratio of weighted shading times colour and its square, with the whisper of the prior."""
    return ((top + 1e-3 * prior) / (bottom + 1e-3)).clamp(0.0, 1.5)


def albedo_modes(model: FaceModel, size: int) -> Float[Tensor, "A S S 3"]:
    """Modes of the albedo at a small size; the model is linear, so differences give them."""
    zero = torch.zeros(model.n_albedo, device=model.uv.device)
    mean = resized_map(model.albedo(zero), size)
    rows = torch.eye(model.n_albedo, device=model.uv.device)
    return torch.stack([resized_map(model.albedo(row), size) - mean for row in rows])


def solve_coefficients(
    colour: Tensor,
    weight: Tensor,
    shading: Tensor,
    mean: Tensor,
    basis: Float[Tensor, "A S S 3"],
    texels: Texels,
    settings: AppearanceSettings,
) -> Float[Tensor, "A"]:
    """Ridge regression of the model's albedo on the colours divided by their shading."""
    full = lit(weight, shading, settings)[..., None]
    w = (full * shading.square()).sum(0)
    top = (full * shading * colour).sum(0)
    small_w = resized_map(texels.square(w), COARSE)
    small = resized_map(texels.square(top), COARSE) / small_w.clamp_min(1e-6)
    target = (small - resized_map(mean, COARSE)).clamp(-0.5, 0.8).flatten()
    design = basis.flatten(1)
    share = small_w.flatten() / small_w.sum().clamp_min(1e-9)
    system = (design * share) @ design.T
    return coefficients_of(system, (design * share) @ target, settings)


def coefficients_of(
    system: Float[Tensor, "A A"], right: Float[Tensor, "A"], settings: AppearanceSettings
) -> Float[Tensor, "A"]:
    """Coefficients from their normal equations, whose weights sum to 1."""
    # The ridge is in units of a visible albedo error of 0.1.
    ridge = settings.coefficient_ridge * 0.01 * torch.eye(len(system), device=system.device)
    return solve_definite(system + ridge.to(system), right[:, None])[:, 0]


def spread_offset(
    albedo: Float[Tensor, "P 3"],
    model_albedo: Float[Tensor, "P 3"],
    known: Bool[Tensor, "P"],
    texels: Texels,
    used: Bool[Tensor, "S S"],
) -> Float[Tensor, "S S 3"]:
    """Offset map; where no view sees, the seen skin says smoothly by how much the model is wrong.

    As a factor: an offset carried from lips that are paler than the model's into the darker inside
    of the mouth left no red there, and it turned green.
    """
    factor = (albedo.clamp_min(DARKEST) / model_albedo.clamp_min(DARKEST)).log()
    smooth = fill(texels.square(factor), texels.square(known), used, sweeps=SWEEPS)
    guess = texels.square(model_albedo) * torch.expm1(smooth.clamp(-LARGEST, LARGEST))
    exact = texels.square(albedo - model_albedo)
    return torch.where(texels.square(known)[..., None], exact, guess)
