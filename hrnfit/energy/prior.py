"""Priors of the unknowns themselves: coefficients, light, optics and the albedo map. No image here.

Coefficients are in standard deviations, so a squared mean of 1 is what a random face has. Light
priors follow HRN's released fit (deviation of each SH coefficient from its mean over RGB), made
relative to the ambient term so that exposure does not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.derivative import held
from hrnfit.energy.smooth import isotropic_variation, used_by_model
from hrnfit.energy.term import Prediction, Residuals
from hrnfit.geometry.kept import kept_for_good
from hrnfit.observe.observation import WorkingViews
from hrnfit.render.shade import sh_basis

SH_AMBIENT = 1e-3
"""Least ambient level that light is measured against; darker than any photograph."""


def bound_violation(
    values: Float[Tensor, "*R"], low: float, high: float, scale: float
) -> Float[Tensor, "*R"]:
    """How far values lie outside [low, high], over `scale`; signed, 0 inside."""
    above = (values - high).clamp_min(0.0)
    below = (low - values).clamp_min(0.0)
    return (above - below) / scale


def relative_light(light: Float[Tensor, "G 9 3"]) -> Float[Tensor, "G 9 3"]:
    """Light over its own ambient level (mean of |order 0| over RGB), the level held constant."""
    ambient = held(lambda: light[:, 0].abs().mean(-1).clamp_min(SH_AMBIENT))
    return light / ambient[:, None, None]


def colour_deviation(light: Float[Tensor, "G 9 3"]) -> Float[Tensor, "G 9 3"]:
    """Each coefficient less its mean over RGB, relative to the ambient level: 0 for grey light."""
    relative = relative_light(light)
    return relative - relative.mean(-1, keepdim=True)


def sphere_directions(count: int) -> Float[Tensor, "K 3"]:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), float64."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1.0 - 2.0 * i / count
    angle = math.pi * (1.0 + math.sqrt(5.0)) * i
    radius = (1.0 - z.square()).sqrt()
    return torch.stack((radius * angle.cos(), radius * angle.sin(), z), -1)


@kept_for_good
def _direction_basis(count: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "K 9"]:
    """Basis of `sphere_directions`, copied to a device once: a recorded computation cannot."""
    return sh_basis(sphere_directions(count).to(device, dtype))


def negative_irradiance(
    light: Float[Tensor, "G 9 3"], basis: Float[Tensor, "K 9"]
) -> Float[Tensor, "G K 3"]:
    """Irradiance below zero at the directions whose SH basis is given, relative to ambient; else 0."""
    return (-torch.einsum("kb,gbc->gkc", basis, relative_light(light))).clamp_min(0.0)


def chroma(rgb: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 2"]:
    """Two opponent channels, red less green and blue less their mean: 0 for every grey."""
    red, green, blue = rgb.unbind(-1)
    return torch.stack((red - green, blue - (red + green) / 2), -1)


@runtime_checkable
class Prior(Protocol):
    """A term that reads the unknowns alone: it says what its residuals are, and all of them count."""

    def values(self, prediction: Prediction) -> Tensor:
        """Dimensionless residuals, in the shape of what they are of."""
        ...

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        values = self.values(prediction)
        return Residuals(values, torch.ones_like(values))


@dataclass(frozen=True)
class IdentityPrior(Prior):
    """Normal prior of the identity coefficients."""

    name: str = "identity_prior"

    def values(self, prediction: Prediction) -> Tensor:
        return prediction.state.identity


@dataclass(frozen=True)
class ExpressionPrior(Prior):
    """Prior of expression: standard deviations, or blendshape activations towards rest."""

    activation: float = 0.3
    """Typical activation of a blendshape; unused for models in standard deviations."""
    name: str = "expression_prior"

    def values(self, prediction: Prediction) -> Tensor:
        values = prediction.state.expression
        if prediction.model.expression_is_blendshape:
            values = values / self.activation
        return values


@dataclass(frozen=True)
class ExpressionBounds(Prior):
    """One-sided bounds: activations of blendshapes stay in 0..1, coefficients within +-`deviations`."""

    scale: float = 0.1
    """Activation beyond a bound that is visibly wrong; ten times that many standard deviations."""
    deviations: float = 3.0
    name: str = "expression_bounds"

    def values(self, prediction: Prediction) -> Tensor:
        expression = prediction.state.expression
        if prediction.model.expression_is_blendshape:
            return bound_violation(expression, 0.0, 1.0, self.scale)
        limit = self.deviations
        return bound_violation(expression, -limit, limit, 10.0 * self.scale)


@dataclass(frozen=True)
class AlbedoPrior(Prior):
    """Normal prior of the albedo coefficients."""

    name: str = "albedo_prior"

    def values(self, prediction: Prediction) -> Tensor:
        return prediction.state.albedo


@dataclass(frozen=True)
class LightColour(Prior):
    """Light is nearly grey: what has colour is the skin (HRN's gamma loss)."""

    scale: float = 0.1
    """Deviation of a coefficient from grey, relative to ambient, that is visibly wrong."""
    name: str = "light_colour"

    def values(self, prediction: Prediction) -> Tensor:
        return colour_deviation(prediction.state.light) / self.scale


@dataclass(frozen=True)
class LightSoftness(Prior):
    """Low energy in the second order: sharp light would explain shape away."""

    scale: float = 0.3
    """Second-order coefficient, relative to ambient, that is much."""
    name: str = "light_softness"

    def values(self, prediction: Prediction) -> Tensor:
        return relative_light(prediction.state.light)[:, 4:] / self.scale


@dataclass(frozen=True)
class LightPositivity(Prior):
    """No surface receives negative light, whichever way it faces."""

    scale: float = 0.1
    """Irradiance below zero, relative to ambient, that is visibly wrong."""
    directions: int = 64
    name: str = "light_positivity"

    def values(self, prediction: Prediction) -> Tensor:
        light = prediction.state.light
        basis = _direction_basis(self.directions, light.dtype, light.device)
        return negative_irradiance(light, basis) / self.scale


@dataclass(frozen=True)
class FocalPrior(Prior):
    """Log-normal prior around the given or guessed focal length."""

    deviation: float = 0.3
    """Standard deviation of the logarithm: 0.3 spans 37 to 68 mm around a guess of 50."""
    name: str = "focal_prior"

    def values(self, prediction: Prediction) -> Tensor:
        return prediction.state.log_focal / self.deviation


@dataclass(frozen=True)
class CameraPrior(Prior):
    """Corrections of a calibration are small."""

    rotation: float = 0.002
    """Standard deviation, rad; 2 mm at 1 m."""
    translation: float = 2.0
    """Standard deviation, mm."""
    name: str = "camera_prior"

    def values(self, prediction: Prediction) -> Tensor:
        camera = prediction.state.camera
        return torch.cat((camera[:, :3] / self.rotation, camera[:, 3:] / self.translation), -1)


@dataclass(frozen=True)
class AlbedoMapSize:
    """The map only adds what the model's albedo lacks."""

    scale: float = 0.1
    """Linear RGB that is visibly wrong; skin lies between 0.1 and 0.6."""
    name: str = "albedo_map_size"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        albedo_map = prediction.state.albedo_map
        used = used_by_model(prediction, *albedo_map.shape[:2]).to(albedo_map.dtype)
        return Residuals(albedo_map / self.scale, used[..., None].expand_as(albedo_map))


@dataclass(frozen=True)
class AlbedoMapVariation:
    """Isotropic total variation: flat skin, sharp borders of lips and brows."""

    scale: float = 0.1
    """Change, linear RGB per 1/64 of the chart, that is visibly wrong."""
    name: str = "albedo_map_tv"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        return _map_variation(prediction, prediction.state.albedo_map, self.scale)


@dataclass(frozen=True)
class AlbedoMapChroma:
    """Chroma changes slowly over skin; fast changes of brightness are shape or shadow as well."""

    scale: float = 0.03
    """Change of an opponent channel per 1/64 of the chart that is visibly wrong."""
    name: str = "albedo_map_chroma"

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals:
        return _map_variation(prediction, chroma(prediction.state.albedo_map), self.scale)


def _map_variation(
    prediction: Prediction, values: Float[Tensor, "R R _"], scale: float
) -> Residuals:
    """Isotropic variation over the part of the chart that the model uses."""
    used = used_by_model(prediction, *values.shape[:2])
    return isotropic_variation(values, used, scale)
