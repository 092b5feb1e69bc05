"""The one error of files of weights: what is wrong with which file, and what to do."""

from __future__ import annotations


class WeightsError(ValueError):
    """A file of weights is damaged, incomplete or of another kind; the message names key, shape or type."""
