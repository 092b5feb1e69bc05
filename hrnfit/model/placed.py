"""Copies of models on devices, kept as long as the model lives, for the next fit with it.

Whatever is computed from a model once (charts, edges, recordings) is found again under the copy's tensors.
"""

from __future__ import annotations

from collections.abc import MutableMapping

import torch
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.model.face_model import FaceModel

_PLACED: MutableMapping[FaceModel, dict[torch.device, FaceModel]] = WeakIdKeyDictionary()  # type: ignore[assignment]


def placed(model: FaceModel, device: torch.device) -> FaceModel:
    """The model on a device; the same object for the same model and device."""
    if device.type == "cpu":
        return model.to(device)
    if model not in _PLACED:
        _PLACED[model] = {}
    copies = _PLACED[model]
    if device not in copies:
        copies[device] = model.to(device)
    return copies[device]
