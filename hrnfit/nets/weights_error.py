"""The one error of files of weights: what is wrong with which file, and what to do."""

from __future__ import annotations


class WeightsError(ValueError):
    """A file of weights is damaged, incomplete or of another kind; the message names key, shape or type."""


LONGEST = 700
"""Characters of what a file says about itself in a message."""


def told(error: BaseException) -> str:
    """What an error says, on one line, fit to be shown, of bounded length: it may quote a hostile file."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
