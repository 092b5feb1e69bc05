"""The statements of a Wavefront OBJ file, one a line.

A backslash at the end of a line joins the next one to it, except in a comment. Lines end at a newline
alone: a form feed or U+2028 may stand in a name. A byte order mark is no part of the first statement.
"""

from __future__ import annotations

import re
from pathlib import Path

CONTINUED = re.compile(r"^([^#\n]*)\\[ \t]*(?:\n|\Z)", re.MULTILINE)
"""A line that goes on in the next one."""


def read_lines(path: Path) -> list[str]:
    """Lines of the file, continued ones joined; OSError when it cannot be opened."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if "\\" in text:
        text = CONTINUED.sub(r"\1 ", text)
    return text.removesuffix("\n").split("\n")


def split_line(line: str) -> tuple[str, str]:
    """Keyword and the rest, without a comment behind it; both empty for a comment or a blank line.

    A '#' begins a comment at the start of a word only: names may contain one.
    """
    words = line.split(None, 1)
    if not words or words[0].startswith("#"):
        return "", ""
    rest = words[1] if len(words) > 1 else ""
    if "#" in rest:
        rest = re.split(r"(?:^|\s)#", rest, maxsplit=1)[0]
    return words[0], rest.strip()
