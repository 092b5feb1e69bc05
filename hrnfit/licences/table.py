"""The table of all known parts, and how to find a row."""

from __future__ import annotations

from importlib.util import find_spec

from hrnfit.licences.model_rows import MODELS
from hrnfit.licences.part import Part, PartKind
from hrnfit.licences.software_rows import SOFTWARE
from hrnfit.licences.weights_rows import WEIGHTS

PARTS: tuple[Part, ...] = (*SOFTWARE, *WEIGHTS, *MODELS)
"""Software first, then weights of networks, then models."""


def known_part(kind: PartKind, name: str) -> Part:
    """The row of a kind and name; a KeyError is a missing row, a fault of ours."""
    for part in PARTS:
        if (part.kind, part.name) == (kind, name):
            return part
    raise KeyError(f"{kind} {name!r} has no row in hrnfit/licences")


def is_installed(part: Part) -> bool:
    """Whether a part of Python code can be imported here; what has no module is in the package when
    it is needed, and else unknown."""
    return find_spec(part.module) is not None if part.module else part.needed
