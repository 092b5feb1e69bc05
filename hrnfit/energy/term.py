"""One energy term: unreduced residuals and their validity; reduced, weighted and named only here.

Residuals are dimensionless and about 1 when visibly wrong, so a weight means the same at any
resolution, view count and vertex count. What one term measures lives in the other files.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.derivative import held
from hrnfit.energy.kernel import KERNELS
from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.observe.observation import WorkingViews

if TYPE_CHECKING:
    from hrnfit.prediction import Prediction
else:
    # Structural at run time: whatever offers the lazy attributes a term reads is a prediction, so a
    # term can be tested without a renderer.
    Prediction = Any


@dataclass(frozen=True)
class Residuals:
    """What a term returns: nothing reduced, nothing weighted by the recipe."""

    values: Float[Tensor, "*R"]
    """Dimensionless residuals."""
    validity: Float[Tensor, "*R"]
    """Weight of each residual in 0..1; 0 where it says nothing. Carries no gradient."""


@runtime_checkable
class Term(Protocol):
    """A frozen dataclass of parameters with a name and one method."""

    @property
    def name(self) -> str:
        """Noun under which recipe and report know the term."""
        ...

    def residuals(self, prediction: Prediction, views: WorkingViews) -> Residuals: ...


@dataclass(frozen=True)
class Weight:
    """A weight that may change while a stage runs, between its first and its last step."""

    start: float
    end: float | None = None
    """None: constant."""

    def __post_init__(self) -> None:
        for value in (self.start, self.end):
            if value is not None and not 0.0 <= value < float("inf"):
                raise ValueError(
                    f"weight: expected a finite number >= 0, got {value}; leave the term out to drop it"
                )

    def at(self, progress: float) -> float:
        """Weight at `progress` in 0..1. Between positive ends the ratio of steps is constant, because
        weights act by orders of magnitude; an end at zero is reached in a straight line."""
        if self.end is None or self.start == self.end:
            return self.start
        p = min(max(progress, 0.0), 1.0)
        if self.start > 0.0 and self.end > 0.0:
            return self.start ** (1.0 - p) * self.end**p
        return (1.0 - p) * self.start + p * self.end

    def is_silent(self, progress: float) -> bool:
        """Whether the term costs nothing now and need not be evaluated."""
        return self.at(progress) == 0.0


def reduce(residuals: Residuals, kernel: str = "square") -> Float[Tensor, ""]:
    """Validity-weighted mean of the residuals under a kernel of `energy.kernel.KERNELS`.

    Zero when nothing is valid. Invalid residuals may be NaN or infinite: they do not enter, neither
    in the value nor in the gradient.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is unknown; one of {', '.join(KERNELS)}")
    if residuals.values.shape != residuals.validity.shape:
        raise ValueError(
            f"residuals: values {tuple(residuals.values.shape)} and validity "
            f"{tuple(residuals.validity.shape)} must have one shape; expand the validity"
        )
    validity = held(lambda: residuals.validity)
    values = torch.where(validity > 0, residuals.values, torch.zeros_like(residuals.values))
    total_validity = validity.sum().clamp_min(1e-12)
    return (validity * KERNELS[kernel](values)).sum() / total_validity


def total(
    terms: Sequence[Term],
    weights: Mapping[str, Weight | float],
    kernels: Mapping[str, str],
    prediction: Prediction,
    views: WorkingViews,
    progress: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the reduced terms, and each term's unweighted energy, detached, by its name.

    `kernels` may leave a term out: it is squared. A term whose weight is zero at this `progress` is
    not evaluated and not listed. Nothing is read back from the device.
    """
    by_name = check_names(terms, weights, kernels)
    factors = {name: as_weight(weights[name]).at(progress) for name in by_name}
    factors = {name: factor for name, factor in factors.items() if factor != 0.0}
    if not factors:
        raise ValueError("energy: no term with a weight above zero; a stage needs at least one")
    asked = [(by_name[name], kernels.get(name, "square"), x) for name, x in factors.items()]
    energy, values = _fused(asked, prediction, views)
    for term, kernel, factor in asked:
        if term.name not in values:
            value = reduce(term.residuals(prediction, views), kernel)
            part, values[term.name] = factor * value, value.detach()
            energy = part if energy is None else energy + part
    assert energy is not None
    return energy, {name: values[name] for name in factors}


def _fused(
    asked: Sequence[tuple[Term, str, float]], prediction: Prediction, views: WorkingViews
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Weighted sum of those terms, each with its kernel and factor, that kernels of our own compute, and their
    energies; None without any."""
    if not has_kernels(views.images.device):
        return None, {}
    from hrnfit.energy.fused import energies  # local: triton
    from hrnfit.energy.fused_total import Weighted

    terms = [(term, Weighted(term.name, kernel, factor)) for term, kernel, factor in asked]
    found = energies(terms, prediction, views)
    return (None, {}) if found is None else found


def as_weight(weight: Weight | float) -> Weight:
    """A schedule from a plain number."""
    return weight if isinstance(weight, Weight) else Weight(float(weight))


def check_names(
    terms: Sequence[Term], weights: Mapping[str, Weight | float], kernels: Mapping[str, str]
) -> dict[str, Term]:
    """Terms by name, after checking that names are unique and that weights and kernels meet them."""
    by_name = {term.name: term for term in terms}
    if len(by_name) != len(terms):
        names = [term.name for term in terms]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"terms: {', '.join(twice)} named twice; give each term its own name")
    for kind, named in (("weight", weights), ("kernel", kernels)):
        for name in named:
            if name not in by_name:
                near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.0)
                hint = f"; nearest is {near[0]!r}" if near else ""
                raise ValueError(f"{kind} of {name!r}: no such term in this stage{hint}")
    for name in by_name:
        if name not in weights:
            raise ValueError(f"term {name!r} has no weight; give it one or leave it out")
    return by_name
