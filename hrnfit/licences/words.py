"""Words of a file's terms that contradict its own flag."""

from __future__ import annotations

import re

FORBIDS = re.compile(
    r"\bnon-?\s?commercial|\bby-nc\b|research (use |purposes? )?only|academic use only"
    r"|commercial use (is )?(prohibited|forbidden|not)|no commercial use|not for commercial",
    re.IGNORECASE,
)
"""Words of terms that do not permit commercial use."""

BOTH = re.compile(
    r"commercial(ly)? (and|or) non-?\s?commercial(ly)?|non-?\s?commercial(ly)? (and|or) commercial(ly)?",
    re.IGNORECASE,
)
"""Words that permit either."""


def forbidden_all_the_same(licence: str, note: str) -> str:
    """A sentence when the words of a file that permits commercial use forbid it, else empty."""
    found = FORBIDS.search(BOTH.sub("", f"{licence} {note}"))
    if found is None:
        return ""
    return (
        f"The file permits commercial use, but its terms say {found.group(0)!r}: ask whom it is from, and "
        "correct the file's licence or its flag."
    )
