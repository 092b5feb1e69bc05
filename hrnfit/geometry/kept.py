"""What is computed once: from a tensor that never changes (triangles, a chart), kept as long as that tensor lives,
or from plain arguments, kept for good.

Several threads may ask, each on a stream of its own: what one makes is finished before another may read it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, MutableMapping
from functools import wraps
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
            values[key] = _finished(make(), owner.device)
        return values[key]


def kept_for_good(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of hashable arguments whose tensor is made once and never replaced: recordings read its memory.

    `functools.cache` would keep the last of those that several threads make at once, and free what one of them
    has recorded already.
    """
    made: dict[Hashable, Tensor] = {}

    @wraps(make)
    def constant(*key: Hashable) -> Tensor:
        found = made.get(key)
        if found is not None:
            return found
        with _LOCK:
            if key not in made:
                value = make(*key)
                made[key] = _finished(value, value.device)
            return made[key]

    return constant


def _finished(value: Value, device: torch.device) -> Value:
    """The value, once the device has computed it: another thread may read it on another stream."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return value
