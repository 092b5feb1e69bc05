"""Values that are made once for an object and go when it goes: subdivided topology of a model, say."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by owner and key. Owners are told apart by identity: models hold tensors, which have no `==`.

    A value must not hold its owner, or neither would ever go. Threads wait for each other while a value
    is made.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._values: dict[int, dict[Hashable, T]] = {}

    def of(self, owner: object, key: Hashable, make: Callable[[], T]) -> T:
        """The value, made at the first call; at every call where nothing can know when the owner goes."""
        with self._lock:
            values = self._values.get(id(owner))
            if values is None:
                try:
                    end = weakref.finalize(owner, self._values.pop, id(owner), None)
                except TypeError:  # a class with slots
                    return make()
                end.atexit = False
                values = self._values[id(owner)] = {}
            if key not in values:
                values[key] = make()
            return values[key]

    def __len__(self) -> int:
        """Owners that are alive and have values."""
        return len(self._values)
