"""Recipes with one thing changed: smaller windows, or a term, level or mechanism left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hrnfit import Recipe
from hrnfit.fit.first_order_stage import FirstOrderSettings
from hrnfit.fit.map_stage import MapSettings
from hrnfit.fit.recipe import Stage

MID_TEXELS = 256
"""Most texels per side at the mid level when windows are small: more than the windows resolve."""

CAMERA_LEAVES = ("pose", "log_focal")


@dataclass(frozen=True)
class Variant:
    """A recipe, and how far its landmarks are from those detected."""

    name: str
    recipe: Recipe
    landmark_noise: float = 0.0
    """Standard deviation, share of the face's height in the picture."""


def limited(recipe: Recipe, size: int) -> Recipe:
    """The recipe with windows of at most `size` px; the fine level keeps its texels."""

    def small(stage: Stage) -> Stage:
        changes: dict[str, Any] = {"size": min(size, stage.settings.size)}
        if stage.level != "fine" and hasattr(stage.settings, "texels"):
            changes["texels"] = min(MID_TEXELS, stage.settings.texels)
        return replace(stage, settings=replace(stage.settings, **changes))

    return replace(recipe, stages=tuple(small(stage) for stage in recipe.stages))


def variants(recipe: Recipe) -> list[Variant]:
    """The whole recipe first, then one thing off at a time; what a recipe has not is not listed."""
    changed = {
        "light field off": _set(recipe, "offset", 0.0),
        "robust kernel off": _set(recipe, "kernel_scale", 100.0),
        "membrane off": _set(recipe, "membrane", 0.0),
        "bending off": _set(recipe, "bending", 0.0),
        "blur off": _set(recipe, "blur", 0.0),
        "pyramid off": pyramid_off(recipe),
        "mid level off": _without(recipe, lambda s: s.level == "mid"),
        "fine level off": _without(recipe, lambda s: s.level == "fine"),
        "cameras held": _held(recipe),
    }
    changed |= {f"term {t} off": _term_off(recipe, t) for t in _terms(recipe)}
    if len(recipe.stages) > 1:
        changed |= {
            f"stage {stage.name} off": _without(recipe, lambda s, n=stage.name: s.name == n)
            for stage in recipe.stages
        }
    unique = {name: other for name, other in changed.items() if other != recipe}
    return [
        Variant("whole", recipe),
        *(Variant(name, other) for name, other in unique.items()),
        Variant("landmarks 1 % off", recipe, landmark_noise=0.01),
    ]


def pyramid_off(recipe: Recipe) -> Recipe:
    """Each level starts at its last map stage, with the steps of all."""
    last = {s.level: s.name for s in recipe.stages if isinstance(s.settings, MapSettings)}
    kept: list[Stage] = []
    for stage in recipe.stages:
        if not isinstance(stage.settings, MapSettings):
            kept.append(stage)
        elif stage.name == last[stage.level]:
            same = [s for s in recipe.stages if s.level == stage.level]
            steps = sum(s.settings.steps for s in same if isinstance(s.settings, MapSettings))
            kept.append(replace(stage, settings=replace(stage.settings, steps=steps)))
    return replace(recipe, stages=tuple(kept))


def _set(recipe: Recipe, key: str, value: float) -> Recipe:
    """One setting, in all map and coefficient stages that have it."""
    stages = tuple(
        replace(stage, settings=replace(stage.settings, **{key: value}))
        if hasattr(stage.settings, key)
        else stage
        for stage in recipe.stages
    )
    return replace(recipe, stages=stages)


def _without(recipe: Recipe, leaves: Callable[[Stage], bool]) -> Recipe:
    return replace(recipe, stages=tuple(s for s in recipe.stages if not leaves(s)))


def _held(recipe: Recipe) -> Recipe:
    """Poses and focal lengths stay where the landmarks put them, in the map stages."""
    stages = tuple(
        replace(stage, free=tuple(leaf for leaf in stage.free if leaf not in CAMERA_LEAVES))
        if isinstance(stage.settings, MapSettings)
        else stage
        for stage in recipe.stages
    )
    return replace(recipe, stages=stages)


def _terms(recipe: Recipe) -> list[str]:
    found = [s.settings.terms for s in recipe.stages if isinstance(s.settings, FirstOrderSettings)]
    return sorted({name for terms in found for name in terms})


def _term_off(recipe: Recipe, term: str) -> Recipe:
    """First-order stages without a term; a stage of that term alone goes with it."""
    stages: list[Stage] = []
    for stage in recipe.stages:
        if isinstance(stage.settings, FirstOrderSettings):
            left = {k: v for k, v in stage.settings.terms.items() if k != term}
            if not left:
                continue
            stage = replace(stage, settings=replace(stage.settings, terms=left))
        stages.append(stage)
    return replace(recipe, stages=tuple(stages))
