"""A small subject in float64 on which a refinement is differentiated: two views, maps of a few texels."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from hrnfit.observe.observation import View
from hrnfit.state import FaceState
from tests.fit.small_scene import face, rig, views_of

DOUBLE = {"dtype": torch.float64}
D, H, R = 10, 12, 12
"""Texels of the deformation, displacement and albedo maps."""

UNITS = {
    "identity": 0.1,
    "expression": 0.05,
    "albedo": 0.1,
    "pose": 0.02,
    "camera": 0.01,
    "log_focal": 0.01,
    "deformation": 0.3,
    "displacement": 0.1,
    "light": 0.05,
    "albedo_map": 0.03,
}
"""A visible change of each leaf."""


@cache
def model():
    return face().to(torch.float64)


@cache
def two_views() -> tuple[View, ...]:
    return views_of(rig(size=96))[:2]


def resized(image: Tensor, size: int) -> Tensor:
    planes = image.movedim(-1, 0)[None]
    small = torch.nn.functional.interpolate(planes, size=(size, size), mode="area")
    return small[0].movedim(0, -1)


@cache
def truth() -> FaceState:
    """The true state with maps of a few texels."""
    state = rig(size=96).truth.state(face(), 2, albedo_map=64).to(torch.float64)
    return state.replace(
        deformation=resized(state.deformation, D),
        displacement=torch.zeros(1, H, H, **DOUBLE),
        albedo_map=resized(state.albedo_map, R),
    )


def moved(seed: int, size: float = 1.0, names: tuple[str, ...] = tuple(UNITS)) -> FaceState:
    """The truth with some leaves off by about their units times `size`."""
    generator = torch.Generator().manual_seed(seed)
    state = truth()
    noise = {
        name: getattr(state, name)
        + size * unit * torch.randn(getattr(state, name).shape, generator=generator, **DOUBLE)
        for name, unit in UNITS.items()
    }
    return state.replace(**{name: noise[name] for name in names})


def direction(seed: int) -> dict[str, Tensor]:
    """A random direction over all leaves, each in its unit."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: unit * torch.randn(getattr(truth(), name).shape, generator=generator, **DOUBLE)
        for name, unit in UNITS.items()
    }
