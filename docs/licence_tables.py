"""Writes the tables of docs/licences.md from `hrnfit.licences`: `python -m docs.licence_tables`.

What stands between `<!-- table KINDS -->` and `<!-- end -->` is replaced; the prose around it stays.
"""

from __future__ import annotations

import re
from pathlib import Path

from hrnfit.licences import PARTS, Part

PAGE = Path(__file__).with_name("licences.md")
TABLE = re.compile(r"<!-- table ([a-z ]+) -->\n.*?<!-- end -->", re.DOTALL)
HEAD = ("part", "licence", "commercial use", "needed", "terms", "instead", "source")


def table(kinds: str) -> str:
    """The Markdown table of the parts of some kinds, `"renderer detector"` say."""
    rows = [cells(part) for part in PARTS if part.kind in kinds.split()]
    if not rows:
        raise ValueError(f"docs/licences.md: no parts of the kinds {kinds!r}")
    used = [i for i in range(len(HEAD)) if any(row[i] for row in rows)]
    lines = [HEAD, tuple("---" for _ in HEAD), *rows]
    return "\n".join(f"| {' | '.join(line[i] for i in used)} |" for line in lines)


def cells(part: Part) -> tuple[str, ...]:
    """A row: what is asked of every part."""
    allowed = {"yes": "yes", "no": "**no**", "ask": "**ask**"}[part.commercial]
    needed = "yes" if part.needed else ""
    named = f"{part.name} ({part.kind})" if part.kind in ("code", "solver") else part.name
    says = f"{part.note}; say: \u201c{part.attribution}\u201d" if part.attribution else part.note
    instead = part.substitute if part.commercial != "yes" else ""
    return (named, part.licence, allowed, needed, says, instead, f"[terms]({part.source})")


def page(text: str) -> str:
    """The page with its tables as they should be."""
    return TABLE.sub(lambda m: f"<!-- table {m[1]} -->\n{table(m[1])}\n<!-- end -->", text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
