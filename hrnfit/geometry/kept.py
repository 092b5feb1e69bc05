"""What is computed once: from a tensor that never changes (triangles, a chart), kept as long as that tensor lives;
or from plain arguments, kept for good where these are few, else while it was asked for lately.

Several threads may ask, each on a stream of its own: what one makes is finished before another may read it, or is its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, MutableMapping
from contextlib import contextmanager
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


class _Lately(threading.local):
    """Of one thread: the constants of each function by stream and key, and who holds those that it reads."""

    def __init__(self) -> None:
        self.made: dict[object, OrderedDict[Hashable, Tensor]] = {}
        self.holders: list[list[Tensor]] = []


_lately = _Lately()


def kept_lately(most: int) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """As `kept_for_good`, for arguments that may go on changing (annealed weights): each thread keeps the `most` that
    it asked for last. A recording, which reads their memory at every replay, holds them by `held_constants`.

    One of another stream is another: memory that is given back is reused in the order of its own stream.
    """

    def kept(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @wraps(make)
        def constant(*key: Hashable) -> Tensor:
            made = _lately.made.setdefault(constant, OrderedDict())
            full = (_stream(key), *key)
            if full not in made:
                made[full] = make(*key)
                while len(made) > most:
                    made.popitem(last=False)
            made.move_to_end(full)
            for holder in _lately.holders:
                holder.append(made[full])
            return made[full]

        return constant

    return kept


def _stream(key: tuple[Hashable, ...]) -> torch.cuda.Stream | None:
    """The current one of the CUDA device that is named among the arguments."""
    devices = [x for x in key if isinstance(x, torch.device) and x.type == "cuda"]
    return torch.cuda.current_stream(devices[0]) if devices else None


@contextmanager
def held_constants() -> Generator[list[Tensor]]:
    """What functions of `kept_lately` give this thread within it."""
    held: list[Tensor] = []
    _lately.holders.append(held)
    try:
        yield held
    finally:
        _lately.holders.pop()


def _finished(value: Value, device: torch.device) -> Value:
    """The value, once the device has computed it: another thread may read it on another stream."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return value
