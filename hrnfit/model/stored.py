"""The kinds of model that a file can hold, and changes that all of them allow."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from hrnfit.model.face_model import LandmarkSet, ModelInfo
from hrnfit.model.flame import FlameModel
from hrnfit.model.linear import LinearFaceModel

StoredModel: TypeAlias = LinearFaceModel | FlameModel


def with_info(model: StoredModel, info: ModelInfo) -> StoredModel:
    """The model with another provenance."""
    if isinstance(model, FlameModel):
        return replace(model, unposed=replace(model.unposed, info=info))
    return replace(model, info=info)


def with_landmarks(model: StoredModel, scheme: str, marks: LandmarkSet) -> StoredModel:
    """The model with one more landmark set, or with another one of that scheme."""
    if isinstance(model, FlameModel):
        landmarks = model.landmarks | {scheme: marks}
        return replace(model, unposed=replace(model.unposed, landmarks=landmarks))
    return replace(model, landmarks=model.landmarks | {scheme: marks})
