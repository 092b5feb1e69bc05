"""What never changes of a model on a device, computed once per model object and kept as long as it lives.

Texels, charts and map operators belong to a topology, not to a fit: rasterising them takes 6 to 40 ms each,
and recordings of solves are found again by the identity of the model on the device. Several threads may ask.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from hrnfit.energy.texels import Texels
from hrnfit.model.deformation import DeformationOperator, deformation_operator
from hrnfit.model.face_model import FaceModel
from hrnfit.render.texture import UvRaster, uv_raster

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class ModelConstants:
    """Constants of one model, each made when it is first asked for."""

    seen: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """`changes` of the model when it was first asked."""
    _kept: dict[Hashable, Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def once(self, key: Hashable, make: Callable[[], Value], device: torch.device) -> Value:
        """What `make` gave, on a device, when this key was first asked for. It must not hold the model."""
        with self._lock:
            if key not in self._kept:
                made = make()
                if device.type == "cuda":  # other threads may read it on other streams
                    # not the device, which must not be waited for while another thread records
                    torch.cuda.current_stream(device).synchronize()
                self._kept[key] = made
            return self._kept[key]


_CONSTANTS: dict[int, tuple[weakref.ref[Any], ModelConstants]] = {}
_LOCK = threading.RLock()


def constants_of(model: FaceModel) -> ModelConstants:
    """The constants of a model object; of one that cannot be referred to weakly, new ones each time."""
    with _LOCK:
        found = _CONSTANTS.get(id(model))
        if found is not None and found[0]() is model:
            return found[1]
        constants, key = ModelConstants(), id(model)
        try:
            reference = weakref.ref(model, lambda gone: _forget(key, gone))
        except TypeError:
            return constants
        _CONSTANTS[key] = (reference, constants)
        return constants


def forget_if_changed(model: FaceModel) -> None:
    """Drop what is kept of a model whose tensors were changed in place since it was last asked."""
    constants, now = constants_of(model), changes(model)
    with _LOCK:
        before = constants.seen.setdefault("changes", now)
        if before != now:
            _CONSTANTS.pop(id(model), None)
            constants_of(model).seen["changes"] = now


def changes(model: object) -> tuple[int, ...]:
    """How often each tensor of a model was written to, as torch counts it; writes through numpy do not count."""
    if isinstance(model, Tensor):
        return () if model.is_inference() else (model._version,)
    if isinstance(model, Mapping):
        return tuple(n for value in model.values() for n in changes(value))
    if is_dataclass(model):
        return tuple(n for f in fields(model) for n in changes(getattr(model, f.name)))
    return ()


def _forget(key: int, gone: weakref.ref[Any]) -> None:
    with _LOCK:
        if key in _CONSTANTS and _CONSTANTS[key][0] is gone:
            del _CONSTANTS[key]


def model_on(model: FaceModel, device: torch.device) -> FaceModel:
    """The model on a device: the same object again for the same model and device, unless its tensors were changed
    in place meanwhile."""
    forget_if_changed(model)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    if model.uv.device == device:
        return model
    return constants_of(model).once(("on", device), lambda: model.to(device), device)


def vertex_count(model: FaceModel) -> int:
    """Vertices of the model."""
    return once(model, "vertices", lambda: int(model.faces.max()) + 1)


def map_operator(model: FaceModel, size: int) -> DeformationOperator:
    """Sampling of a deformation map of `size` at the model's vertices."""
    count = vertex_count(model)
    return once(
        model,
        ("operator", size),
        lambda: deformation_operator(model.faces, model.uv, model.uv_faces, count, size),
    )


def texels_of(model: FaceModel, size: int) -> Texels:
    """Texels of the model's chart at a resolution."""
    return once(model, ("texels", size), lambda: Texels.of(model, size))


def chart_of(model: FaceModel, size: int) -> UvRaster:
    """Raster of the model's chart at a resolution."""
    return once(
        model,
        ("chart", size),
        lambda: uv_raster(model.uv, model.uv_faces, model.faces, size, size),
    )


def once(model: FaceModel, key: Hashable, make: Callable[[], Value]) -> Value:
    """A constant of the model under a key of its own, made when it is first asked for. It must hold tensors
    alone, not the model."""
    return constants_of(model).once(key, make, model.uv.device)
