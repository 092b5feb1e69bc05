"""The networks of a start from the weights that a user keeps (`nets/weights.py`)."""

from __future__ import annotations

from pathlib import Path

from hrnfit.infer.networks import Networks
from hrnfit.model.face_model import ModelInfo


def networks_for(info: ModelInfo) -> list[str]:
    """Names of kept weights that were trained for a model, best first."""
    raise NotImplementedError


def load_networks(name: str | Path) -> Networks:
    """Weights by name or file, with the de-retouching network if there is one."""
    raise NotImplementedError
