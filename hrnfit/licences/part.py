"""One part and its terms, and the rule of commercial use: every part must say that it permits it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

PartKind = Literal[
    "code", "model", "renderer", "detector", "solver", "weights", "viewer", "library", "data"
]
Commercial = Literal["yes", "no", "ask"]
"""`ask`: the terms do not say, contradict each other, or name somebody to ask."""


@dataclass(frozen=True)
class Part:
    """Something with terms of its own that a fit may use."""

    name: str
    kind: PartKind
    licence: str
    commercial: Commercial
    """Whether the terms permit commercial use."""
    source: str
    """Where the terms stand, an address; for a model of a user, what its file says."""
    needed: bool = False
    """Whether hrnfit cannot work without it."""
    note: str = ""
    """The terms in one sentence, for those who do not read licences."""
    substitute: str = ""
    """What to use instead where commercial use is not permitted; completes "instead use"."""
    attribution: str = ""
    """What must be said beside a product that contains it; empty when nothing must."""
    module: str = ""
    """Module whose presence tells that it is installed; empty for what is no Python package."""
    distribution: str = ""
    """Its name on the package index."""
    importers: tuple[str, ...] = ()
    """Kinds of `hrnfit models kinds` that make a model of it; of weights, kinds of `hrnfit nets add`."""
    hints: tuple[str, ...] = ()
    """Lower-case words in a model file's licence, source or names of files that tell that it is this one."""


class LicenceError(ValueError):
    """Commercial use was asked for, and a part does not permit it."""


def check_commercial(parts: Iterable[Part], task: str = "this fit") -> None:
    """Raise LicenceError naming every part that is not known to permit commercial use, with what to
    use instead. `task` says in the user's words what would use them."""
    refused = [refusal(part) for part in parts if part.commercial != "yes"]
    if refused:
        raise LicenceError(
            f"commercial use was asked for, but {task} would use {'; and '.join(refused)} "
            "(`hrnfit licences` shows the terms of everything installed)"
        )


def refusal(part: Part) -> str:
    """Why a part is refused and what to use instead, as a part of a sentence."""
    reason = "does not permit it" if part.commercial == "no" else "is not known to permit it"
    instead = f": instead use {part.substitute}" if part.substitute else ""
    return f"the {part.kind} {part.name!r}, whose licence ({part.licence}) {reason}{instead}"
