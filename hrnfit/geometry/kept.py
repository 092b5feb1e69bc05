"""What is computed once from a tensor that never changes (triangles, a chart), kept as long as that tensor lives.

Several threads may ask, each on a stream of its own: what one makes is finished before another may read it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, MutableMapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

Value = TypeVar("Value")

_KEPT: MutableMapping[Tensor, dict[Hashable, Any]] = WeakIdKeyDictionary()
_LOCK = threading.RLock()


def kept_with(owner: Tensor, key: Hashable, make: Callable[[], Value]) -> Value:
    """What `make` gave when this key was first asked for with this very tensor. It must not hold the tensor."""
    with _LOCK:
        if owner not in _KEPT:
            _KEPT[owner] = {}
        values = _KEPT[owner]
        if key not in values:
            values[key] = make()
            if owner.device.type == "cuda":
                torch.cuda.current_stream(owner.device).synchronize()
        return values[key]
