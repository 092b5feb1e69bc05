"""Where a network is from and under which terms: what its file says beside its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from hrnfit.check import check_kind, check_one_of
from hrnfit.licences import PARTS, Commercial, Part
from hrnfit.licences.words import forbidden_all_the_same
from hrnfit.nets.kinds import OWN

LONGEST_TEXT = 10_000
MOST_FILES = 100

SUBSTITUTE = "the optimisation, which needs no weights"


@dataclass(frozen=True)
class NetworkInfo:
    """Provenance and terms."""

    name: str
    licence: str
    commercial: Commercial
    """Whether the terms permit commercial use; `ask` where they do not say."""
    source: str
    note: str = ""
    """The terms in one sentence."""
    origin: str = OWN
    """Kind of checkpoint that it was made from, a key of `kinds.KINDS`, or `hrnfit`."""
    files: tuple[tuple[str, str], ...] = ()
    """Name and SHA-256 of every file that it was made from."""
    model: str = ""
    """Name or kind of the face model whose coefficients it predicts; empty when it predicts none."""


def document_from_info(info: NetworkInfo) -> dict[str, Any]:
    """As JSON knows it."""
    return dataclasses.asdict(info) | {"files": [list(pair) for pair in info.files]}


def info_from(document: object) -> NetworkInfo:
    """From a JSON object, every entry checked; raises TypeError and ValueError that name it."""
    if not isinstance(document, Mapping):
        raise TypeError(f"info: expected an object of texts, got {type(document).__name__}")
    known = {field.name for field in dataclasses.fields(NetworkInfo)}
    if set(document) != known:
        off = sorted(map(str, known ^ set(document)))
        raise ValueError(f"info: expected {', '.join(sorted(known))}; differs in {', '.join(off)}")
    for key in sorted(known - {"files"}):
        check_kind(f"info.{key}", document[key], (str,), "a text")
        if len(document[key]) > LONGEST_TEXT:
            raise ValueError(f"info.{key}: {len(document[key])} characters, at most {LONGEST_TEXT}")
    check_one_of("info.commercial", document["commercial"], get_args(Commercial))
    files = document["files"]
    if not isinstance(files, list) or len(files) > MOST_FILES or not all(map(_is_pair, files)):
        raise ValueError("info.files: expected pairs of a name and a SHA-256")
    texts: dict[str, Any] = {key: document[key] for key in known - {"files"}}
    return NetworkInfo(**texts, files=tuple((name, digest) for name, digest in files))


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)


def network_part(info: NetworkInfo) -> Part:
    """Terms of a network as its file states them; the table adds attribution and a substitute.

    A file whose words forbid what its flag permits counts as `ask`.
    """
    row = next((p for p in PARTS if p.kind == "weights" and info.origin in p.importers), None)
    doubt = forbidden_all_the_same(info.licence, info.note) if info.commercial == "yes" else ""
    return Part(
        name=info.name,
        kind="weights",
        licence=info.licence,
        commercial="ask" if doubt else info.commercial,
        source=(row.source if row else "") or info.source,
        note=" ".join(filter(None, (doubt, info.note or (row.note if row else "")))),
        substitute=(row.substitute if row else "") or SUBSTITUTE,
        attribution=row.attribution if row else "",
    )
