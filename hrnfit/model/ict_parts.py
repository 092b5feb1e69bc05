"""Which of the ICT model's vertices make a part: `face` or `head`, with eyes and teeth where wanted.

The pieces and their ranges of vertices are those of the table in the README of ICT-FaceKit. What lies
over an eyeball (lacrimal fluid, blend and occlusion meshes, eyelashes) and the sockets behind it are
left out: they are shells for a shader, and an opaque render would see them instead of the eye. So are
the irises: they lie 0.3 mm behind the eyeball's clear front, which hides them from an opaque render, and
come through it as soon as a fit moves one more than the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from hrnfit.model.format_error import ModelFormatError

Slices = Mapping[str, tuple[int, int]]

SLICES: Slices = {
    "face": (0, 9409),
    "head_neck": (9409, 11248),
    "mouth_socket": (11248, 13294),
    "gums_tongue": (14062, 17039),
    "teeth": (17039, 21451),
    "sclera_l": (21451, 22221),
    "sclera_r": (23021, 23791),
}
"""First vertex and the one after the last of each piece that can be kept."""

BASES = {"face": "face", "head": "head_neck"}
"""What a part may begin with, and the last piece of it: all vertices up to its end are taken."""

EXTRAS = {
    "eyes": ("sclera_l", "sclera_r"),
    "teeth": ("mouth_socket", "gums_tongue", "teeth"),
}
"""What may be added."""

FULL = "head+eyes+teeth"


@dataclass(frozen=True)
class Part:
    """What to keep of the model."""

    base: str = "face"
    """A name of `BASES`."""
    eyes: bool = False
    """The eyeballs, in place of fronts that we make."""
    teeth: bool = False
    """Teeth, gums, tongue and the bag behind the lips."""

    @property
    def pieces(self) -> tuple[str, ...]:
        """Names of the added pieces, in the order of their vertices."""
        wanted = {"eyes": self.eyes, "teeth": self.teeth}
        names = {piece for extra, on in wanted.items() if on for piece in EXTRAS[extra]}
        return tuple(piece for piece in SLICES if piece in names)


def parse_part(text: str) -> Part:
    """The part of a text such as `face`, `head+eyes`, `face+eyes+teeth` or `full`."""
    base, *extras = (FULL if text == "full" else text).split("+")
    if base not in BASES or set(extras) - set(EXTRAS) or len(set(extras)) < len(extras):
        raise ValueError(
            f"part: expected {' or '.join(BASES)}, with {' and '.join('+' + e for e in EXTRAS)} "
            f"where wanted, or full; got '{text}'"
        )
    return Part(base, "eyes" in extras, "teeth" in extras)


def slices_of(meta: str) -> Slices:
    """The ranges that a compact file's own table gives, else the published ones.

    Raises ValueError where the table is not one of pairs of counts.
    """
    table = json.loads(meta)
    given = table.get("vertex_slices", {}) if isinstance(table, dict) else None
    if not isinstance(given, dict):
        raise ValueError("meta: vertex_slices is not a table of ranges")
    found = dict(SLICES)
    for name in SLICES:
        if name in given:
            found[name] = _range(name, given[name])
    return found


def _range(name: str, given: object) -> tuple[int, int]:
    if (
        not isinstance(given, list)
        or len(given) != 2
        or not all(isinstance(end, int) for end in given)
        or not 0 <= given[0] <= given[1]
    ):
        raise ValueError(f"meta: vertex_slices {name}: expected first and last + 1, got {given}")
    return (given[0], given[1])


def base_count(part: Part, slices: Slices, n_vertices: int) -> int:
    """Number of leading vertices that face or head have; a smaller file is all of it."""
    return min(slices[BASES[part.base]][1], n_vertices)


def kept_vertices(part: Part, slices: Slices, n_vertices: int) -> Int[np.ndarray, "K"]:
    """The part's vertices in a file of `n_vertices`: those of face or head first.

    Raises ModelFormatError when the file has no such piece.
    """
    ranges = [(0, base_count(part, slices, n_vertices))]
    for piece in part.pieces:
        start, stop = slices[piece]
        if stop > n_vertices or start < ranges[0][1] or start == stop:
            raise ModelFormatError(
                f"ICT: the part needs {piece}, vertices {start} to {stop - 1}, but the file has "
                f"{n_vertices} vertices; give the folder FaceXModel of ICT-FaceKit, or leave "
                f"+{next(e for e, pieces in EXTRAS.items() if piece in pieces)} out"
            )
        ranges.append((start, stop))
    return np.concatenate([np.arange(start, stop) for start, stop in ranges])
