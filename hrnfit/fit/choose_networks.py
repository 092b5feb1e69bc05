"""Which networks a fit starts with: those asked for, or what the user keeps for the model, if the recipe wants any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hrnfit.check import check_kind
from hrnfit.fit.first_order_stage import FirstOrderSettings
from hrnfit.fit.recipe import Recipe
from hrnfit.infer.load_networks import kept, load_networks, networks_for, with_deretouch
from hrnfit.infer.networks import Networks, check_networks
from hrnfit.licences import Part
from hrnfit.model.face_model import FaceModel


@dataclass(frozen=True)
class Choice:
    """The networks of a fit, or why there are none."""

    networks: Networks | None
    why: str
    """Empty when there are some."""
    warning: bool = False
    """Whether the user should be told: the recipe asked for networks."""
    instead: str = "landmarks"
    """What the fit starts from without networks: `landmarks`, or the `result` it continues."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Terms of the weights; a caller's own that state none are asked about."""
        if self.networks is None:
            return ()
        return self.networks.parts or (_unstated(self.networks),)


def _unstated(networks: Networks) -> Part:
    return Part(
        name=networks.name,
        kind="weights",
        licence="not stated",
        commercial="ask",
        source="given by the caller",
        note="networks of the caller's own say their terms in `Networks(parts=...)`, as hrnfit.licences.Part",
        substitute="networks whose parts state their terms, or a recipe with initialize: landmarks",
    )


CONTINUED = Choice(None, "the fit continues from an earlier result", instead="result")
"""Of a fit that needs no start."""


def choose_networks(
    asked: str | Path | Networks | None, recipe: Recipe, model: FaceModel, commercial: bool = False
) -> Choice:
    """What a fit starts with.

    Networks asked for by name or given are used, whatever the recipe's `initialize` says but `landmarks`.
    Otherwise the first of those that the user keeps for the model which predict as many coefficients as it has
    and, with `commercial`, permit commercial use. The de-retouching network comes along where the
    recipe wants its albedo. Raises ValueError when networks asked for do not belong to the model.
    """
    if recipe.initialize == "landmarks":
        if asked is not None:
            raise ValueError(
                "networks: given, but the recipe says initialize: landmarks; leave one of them out"
            )
        return Choice(None, "the recipe starts from landmarks")
    if asked is None:
        return _kept(recipe, model, commercial)
    check_kind("networks", asked, (str, Path, Networks), "a name of `hrnfit nets list` or a file")
    if isinstance(asked, Networks):
        found = asked if wants_deretouched(recipe) else replace(asked, deretouch=None)
    else:
        found = _completed(load_networks(asked), recipe, commercial)
    check_networks(found, model)
    return Choice(found, "")


def wants_deretouched(recipe: Recipe) -> bool:
    """Whether a stage of the recipe takes the de-retouched albedo, or the result does (`appearance: start`)."""
    if recipe.appearance == "start":
        return True
    settings = [stage.settings for stage in recipe.stages]
    return any(isinstance(s, FirstOrderSettings) and s.albedo == "deretouched" for s in settings)


def _kept(recipe: Recipe, model: FaceModel, commercial: bool) -> Choice:
    """The first of the user's own that can be taken, else why none was."""
    refused = ""
    for name in networks_for(model.info):
        found = load_networks(name)
        doubtful = [part for part in found.parts if part.commercial != "yes"]
        if commercial and doubtful:
            why = (
                f"commercial use was asked for: the weights {doubtful[0].name!r} are left alone "
                f"({doubtful[0].licence})"
            )
            refused = refused or why
            continue
        try:
            check_networks(found, model)
        except ValueError as error:
            refused = refused or str(error)
            continue
        return Choice(_completed(found, recipe, commercial), "")
    if refused:
        return Choice(None, f"{refused}: the fit starts from landmarks", True)
    others = [f"{name} ({n.info.model or 'no model stated'})" for name, n in kept("hrn").items()]
    told = f"; kept for other models: {', '.join(others)}" if others else ""
    why = (
        f"no network weights for model {model.info.name!r}: the fit starts from landmarks (hrnfit nets add hrn "
        f"PATH for the Basel model of 2009, --model bfm09, or add networks of your own{told})"
    )
    return Choice(None, why, recipe.initialize == "networks")


def _completed(networks: Networks, recipe: Recipe, commercial: bool) -> Networks:
    return with_deretouch(networks, commercial) if wants_deretouched(recipe) else networks
