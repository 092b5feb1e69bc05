"""Which networks a fit starts with: those asked for, or what the user keeps for the model, if the recipe wants any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hrnfit.check import check_kind
from hrnfit.fit.recipe import Recipe
from hrnfit.infer.load_networks import load_networks, networks_for
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

    @property
    def parts(self) -> tuple[Part, ...]:
        """Terms of the weights."""
        return () if self.networks is None else self.networks.parts


NOT_ASKED = Choice(None, "the fit continues from an earlier result")
"""Of a fit that needs no start."""


def choose_networks(
    asked: str | Path | Networks | None, recipe: Recipe, model: FaceModel, commercial: bool = False
) -> Choice:
    """What a fit starts with.

    Networks asked for by name or given are used, whatever the recipe's `initialize` says but `landmarks`.
    Otherwise those that the user keeps for the model; with `commercial` only such as permit it. Raises
    ValueError when networks asked for do not belong to the model.
    """
    if recipe.initialize == "landmarks":
        if asked is not None:
            raise ValueError(
                "networks: given, but the recipe says initialize: landmarks; leave one of them out"
            )
        return Choice(None, "the recipe starts from landmarks")
    if asked is not None:
        check_kind(
            "networks", asked, (str, Path, Networks), "a name of `hrnfit nets list` or a file"
        )
        found = asked if isinstance(asked, Networks) else load_networks(asked, commercial)
        check_networks(found, model)
        return Choice(found, "")
    names = networks_for(model.info)
    wanted = recipe.initialize == "networks"
    if not names:
        why = (
            f"no network weights for model {model.info.name!r}: the fit starts from landmarks "
            "(hrnfit nets add hrn PATH, for the Basel model of 2009)"
        )
        return Choice(None, why, wanted)
    found = load_networks(names[0], commercial)
    refused = [part for part in found.parts if part.commercial != "yes"]
    if commercial and refused:
        why = (
            f"commercial use was asked for: the weights {refused[0].name!r} are left alone "
            f"({refused[0].licence}), and the fit starts from landmarks"
        )
        return Choice(None, why, True)
    check_networks(found, model)
    return Choice(found, "")
