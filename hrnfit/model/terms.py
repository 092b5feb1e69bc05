"""A model's terms as a `Part`: what its file says, completed by the table where the model is known."""

from __future__ import annotations

from hrnfit.licences import PARTS, Part
from hrnfit.licences.model_rows import SUBSTITUTE
from hrnfit.licences.words import forbidden_all_the_same
from hrnfit.model.face_model import ModelInfo


def model_part(info: ModelInfo) -> Part:
    """Terms of a model as its file states them.

    A file whose words forbid what its flag permits counts as `ask`. The table adds the attribution, a
    substitute, and the terms in a sentence where the file has none.
    """
    row = model_row(info)
    doubt = contradiction(info)
    return Part(
        name=info.name,
        kind="model",
        licence=info.licence,
        commercial="ask" if doubt else "yes" if info.commercial else "no",
        source=(row.source if row else "") or info.source,
        needed=row is not None and row.needed,
        note=" ".join(filter(None, (doubt, info.note or (row.note if row else "")))),
        substitute=(row.substitute if row else "") or SUBSTITUTE,
        attribution=row.attribution if row else "",
    )


def model_row(info: ModelInfo) -> Part | None:
    """The table's row of a model: one of its importer's, else of those that its licence, source and
    files hint at; the flags must agree. None for a model of the user's own."""
    said = " ".join((info.licence, info.source, *(name for name, _ in info.files))).lower()
    models = [part for part in PARTS if part.kind == "model"]
    imported = [part for part in models if info.kind in part.importers]
    rows = imported or [part for part in models if _hint(part, said)]
    agreeing = [part for part in rows if (part.commercial == "yes") is info.commercial]
    return max(agreeing, key=lambda part: _hint(part, said), default=None)


def contradiction(info: ModelInfo) -> str:
    """A sentence when the file's words forbid the commercial use that its flag permits, else empty."""
    if not info.commercial:
        return ""
    return forbidden_all_the_same(info.licence, info.note)


def _hint(part: Part, said: str) -> int:
    """Length of the longest hint found: what tells FLAME 2023 Open also has the words of FLAME 2023."""
    return max((len(hint) for hint in part.hints if hint in said), default=0)
