"""The energy of a first-order stage as a function that can be recorded: what a fit has of its own comes in as
tensors (state, windows, mask edges, values that no free leaf moves), the rest is named by a key.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hrnfit.energy.contour import MaskEdges, edges_of_views, keep_edges
from hrnfit.energy.perceptual import Perceptual
from hrnfit.energy.term import Term, Weight, total
from hrnfit.fit.model_constants import chart_of, map_operator
from hrnfit.fit.scene import Scene
from hrnfit.lazy import Fixed
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import WorkingViews
from hrnfit.prediction import Prediction, Projection
from hrnfit.render.rasterizer import Raster, Rasterizer
from hrnfit.solve.loop import Evaluated
from hrnfit.solve.recorded_adam import NamedEnergy
from hrnfit.solve.solver import Leaves
from hrnfit.state import FaceState, Sharing

OUTLINES = ("contour", "contour_rows", "silhouette")
"""Terms that compare with the edges of the masks."""

BUNDLES: dict[str, Callable[..., Any]] = {
    "projection": Projection,
    "raster": Raster,
    "detail_surface": lambda *parts: parts,
    "painted": lambda *parts: parts,
    "_separated": lambda *parts: parts,
}
"""Lazy values of a prediction that are several tensors."""

_ASKED: dict[Hashable, tuple[str, ...]] = {}
"""By key: the lazy values that a stage asks for and that no free leaf moves."""


@dataclass(frozen=True)
class StageTerms:
    """The terms of a stage and how they enter its energy."""

    terms: tuple[Term, ...]
    weights: Mapping[str, Weight]
    kernels: Mapping[str, str]

    def __call__(self, prediction: Prediction, views: WorkingViews) -> Evaluated:
        return total(self.terms, self.weights, self.kernels, prediction, views)

    @property
    def key(self) -> Hashable:
        """Equal for terms that compute the same."""
        return tuple(
            (type(x).__name__, *vars(x).values(), self.weights[x.name], self.kernels[x.name])
            for x in self.terms
        )

    @property
    def recordable(self) -> bool:
        """Not with the perceptual term: its network is any callable, which may look at values or leave torch."""
        return not any(isinstance(term, Perceptual) for term in self.terms)


@dataclass(frozen=True, eq=False)
class _Recorded:
    """The energy, holding what lives as long as the model only."""

    model: FaceModel
    rasterizer: Rasterizer
    terms: StageTerms
    scheme: str
    level: str
    asked: tuple[str, ...]

    def __call__(self, leaves: Leaves, inputs: Mapping[str, Tensor]) -> Evaluated:
        state = FaceState(**_under("state", inputs), **leaves)
        views = WorkingViews(**_under("views", inputs), names=(), landmark_scheme=self.scheme)
        edges = _under("edges", inputs)
        if edges:
            rows = edges.pop("rows")
            keep_edges(views.masks, MaskEdges(**edges), rows)
        values = {name: _joined(name, list(_under(name, inputs).values())) for name in self.asked}
        prediction = Prediction(
            self.model,
            state,
            Sharing(**_under("sharing", inputs)),
            views,
            map_operator(self.model, state.deformation.shape[0]),
            self.rasterizer,
            partial(chart_of, self.model),
            self.level,
            Fixed(frozenset(leaves), values.__getitem__),
        )
        return self.terms(prediction, views)


def named_energy(
    scene: Scene, state: FaceState, free: tuple[str, ...], terms: StageTerms, size: int, level: str
) -> NamedEnergy:
    """The stage's energy at a window of `size` px as a function of its free leaves and of named tensors."""
    windows = scene.windows(size)
    base = scene.predict(state, size, level)
    scheme, backend = windows.landmark_scheme, type(scene.rasterizer)
    shapes = (windows.size, len(windows.K), *(tuple(x.shape) for x in _tensors(state).values()))
    key = ("first order", id(scene.model), backend, terms.key, scheme, level, free, shapes)
    if key not in _ASKED:
        _ASKED[key] = _asked(base, free, terms, windows)
    inputs = {f"state.{n}": x for n, x in _tensors(state).items() if n not in free}
    inputs |= {f"sharing.{n}": x for n, x in _tensors(scene.rows).items()}
    inputs |= {f"views.{n}": x for n, x in _tensors(windows).items()}
    if any(term.name in OUTLINES for term in terms.terms):
        edges, rows = edges_of_views(windows)
        inputs |= {f"edges.{n}": x for n, x in edges._asdict().items()} | {"edges.rows": rows}
    with torch.no_grad():
        for name in _ASKED[key]:
            inputs |= {f"{name}.{k}": x for k, x in enumerate(_parts(getattr(base, name)))}
    function = _Recorded(scene.model, scene.rasterizer, terms, scheme, level, _ASKED[key])
    return NamedEnergy(key, function, inputs, tuple(term.name for term in terms.terms))


def _asked(
    base: Prediction, free: tuple[str, ...], terms: StageTerms, views: WorkingViews
) -> tuple[str, ...]:
    """What one evaluation asks of the values that do not move."""
    asked: dict[str, None] = {}

    def value(name: str) -> Any:
        asked[name] = None
        return getattr(base, name)

    with torch.no_grad():
        terms(replace(base, fixed=Fixed(frozenset(free), value)), views)
    return tuple(asked)


def _tensors(value: Any) -> dict[str, Tensor]:
    """The fields of a dataclass that are tensors."""
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    return {name: x for name, x in found.items() if isinstance(x, Tensor)}


def _parts(value: Any) -> list[Tensor]:
    """The tensors of a lazy value, in order."""
    if isinstance(value, Tensor):
        return [value]
    return list(_tensors(value).values()) if is_dataclass(value) else list(value)


def _joined(name: str, parts: list[Tensor]) -> Any:
    """The lazy value made of its parts again."""
    return BUNDLES[name](*parts) if name in BUNDLES else parts[0]


def _under(prefix: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs named `prefix.`, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: x for name, x in inputs.items() if name.startswith(start)}
