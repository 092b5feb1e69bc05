"""Analysis by synthesis with Adam or L-BFGS: any leaves, any terms, through one rendering."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from hrnfit.energy.kernel import KERNELS
from hrnfit.energy.term import Weight
from hrnfit.fit.appearance import fit_appearance, with_albedo
from hrnfit.fit.recordable import recordable
from hrnfit.fit.recorded_stage import StageTerms, named_energy
from hrnfit.fit.scene import Scene
from hrnfit.fit.terms import TERMS, make_term
from hrnfit.solve.first_order import LBFGS, Adam
from hrnfit.solve.loop import Energy, Loop, Progress
from hrnfit.solve.solver import Solution
from hrnfit.state import FaceState

RATES = {
    "identity": 0.02,
    "expression": 0.01,
    "albedo": 0.02,
    "pose": 0.003,
    "camera": 0.001,
    "log_focal": 0.003,
    "deformation": 0.1,
    "displacement": 0.01,
    "light": 0.01,
    "albedo_map": 0.01,
}
"""Adam's step per leaf in its own unit; the pose's is in rad, its mm are stepped alike."""


@dataclass(frozen=True)
class TermWeight:
    """How one term enters the energy."""

    weight: float
    kernel: str = "square"
    """One of `energy.kernel.KERNELS`."""


@dataclass(frozen=True)
class FirstOrderSettings:
    """A stage of Adam or L-BFGS."""

    LEAVES: ClassVar[tuple[str, ...]] = tuple(RATES)
    terms: Mapping[str, TermWeight] = field(default_factory=dict)
    size: int = 256
    """Window, px."""
    steps: int = 150
    rates: Mapping[str, float] = field(default_factory=dict)
    """Adam's step by leaf, where it differs from the default."""
    tolerance: float = 1e-3
    """Ends when 30 steps lowered the energy by less than this fraction."""
    albedo_blur: float = 0.0
    """Gaussian on the albedo map, share of the UV square: detail is then left to the shading, a plain
    stand-in for the de-retouching of HRN sec. 3.4."""
    albedo: str = "fitted"
    """`fitted`: the state's, blurred by `albedo_blur`. `deretouched`: that of the de-retouching network (HRN sec.
    3.4) where the start had one, with its light solved for anew; else as `fitted`."""
    appearance: int = 0
    """Window, px, in which light and albedo are solved for the start's geometry before the first step;
    0: taken as they are."""

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("terms: none given; a stage of adam or lbfgs needs at least one")
        for name in self.terms:
            if name not in TERMS:
                raise ValueError(f"terms: unknown term {name!r}; {_nearest(name, TERMS)}")
        for name, term in self.terms.items():
            if term.kernel not in KERNELS:
                raise ValueError(
                    f"terms: unknown kernel {term.kernel!r} of {name!r}; {_nearest(term.kernel, KERNELS)}"
                )
        if self.albedo not in ("fitted", "deretouched"):
            raise ValueError(f"albedo: expected 'fitted' or 'deretouched', got {self.albedo!r}")
        for name in self.rates:
            if name not in RATES:
                raise ValueError(f"rates: {name!r} is no leaf; {_nearest(name, RATES)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    return f"did you mean {difflib.get_close_matches(name, list(known), 1, 0.0)[0]!r}?"


def solve_first_order(
    scene: Scene,
    state: FaceState,
    free: tuple[str, ...],
    settings: FirstOrderSettings,
    level: str,
    solver: str,
    progress: Progress | None = None,
) -> tuple[FaceState, Solution]:
    """The state with the free leaves at a minimum of the weighted terms."""
    if settings.appearance > 0:
        with torch.no_grad():
            state = fit_appearance(scene, state, settings.appearance)
    shown = _with_albedo_of(settings, scene, state)
    energy = _energy(scene, shown, free, settings, level)
    leaves = {name: getattr(shown, name) for name in free}
    loop = Loop(settings.steps, record_every=10, tolerance=settings.tolerance)
    if solver == "adam":
        rates = {name: settings.rates.get(name, RATES[name]) for name in free}
        solution = Adam(rates, loop=loop).minimize(energy, leaves, progress)
    else:
        loop = replace(loop, record_every=1)
        solution = LBFGS(loop=loop).minimize(energy, leaves, progress)
    moved = {name: leaf.detach() for name, leaf in solution.leaves.items()}
    return state.replace(**moved), solution


def _energy(
    scene: Scene,
    state: FaceState,
    free: tuple[str, ...],
    settings: FirstOrderSettings,
    level: str,
) -> Energy:
    """Weighted sum of the stage's terms as a function of its leaves, such that it can be recorded where scene and terms can."""
    windows = scene.windows(settings.size)
    made = [
        make_term(name, windows.landmark_scheme, {}, scene.embedding) for name in settings.terms
    ]
    weights = {n: Weight(t.weight) for n, t in settings.terms.items()}
    terms = StageTerms(tuple(made), weights, {n: t.kernel for n, t in settings.terms.items()})
    if recordable(scene) and terms.recordable:
        return named_energy(scene, state, free, terms, settings.size, level)
    base = scene.predict(state, settings.size, level)
    return lambda leaves: terms(base.moved(leaves), windows)


def _with_albedo_of(settings: FirstOrderSettings, scene: Scene, state: FaceState) -> FaceState:
    """The state with the albedo that the stage compares with, which is the solve's only unless it is free."""
    if settings.albedo == "deretouched" and scene.deretouched is not None:
        return with_albedo(scene, state, scene.deretouched, settings.size)
    if settings.albedo_blur > 0:
        return state.replace(albedo_map=_blurred_offset(scene, state, settings.albedo_blur))
    return state


def _blurred_offset(scene: Scene, state: FaceState, share: float) -> torch.Tensor:
    """Offset that makes the whole albedo map smooth."""
    from kornia.filters import gaussian_blur2d  # local: 0.2 s

    full = scene.predict(state, 64).albedo_map
    size = full.shape[0]
    sigma = share * size
    taps = min(2 * round(2.5 * sigma) + 1, 2 * (size // 2) - 1)
    smooth = gaussian_blur2d(full.movedim(-1, 0)[None], (taps, taps), (sigma, sigma))
    return state.albedo_map + smooth[0].movedim(0, -1) - full
