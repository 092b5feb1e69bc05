"""The one error of model files: what is wrong with which file, and what to do."""

from __future__ import annotations


class ModelFormatError(ValueError):
    """A model file is damaged, incomplete or of another kind; the message names key, shape or count."""
