"""One thing that was looked at, and how it stands."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    """How bad it is; the value is shown."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What was measured on one aspect of a model."""

    name: str
    verdict: Verdict
    measured: str
    """The number, with its unit."""
    advice: str = ""
    """What to do; empty when all is well."""


def graded(
    name: str, measured: str, *, fail: bool = False, warn: bool = False, advice: str = ""
) -> Finding:
    """A finding from two conditions, the worse one first; advice only where there is need."""
    verdict = Verdict.FAIL if fail else Verdict.WARN if warn else Verdict.OK
    return Finding(name, verdict, measured, "" if verdict is Verdict.OK else advice)
