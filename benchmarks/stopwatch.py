"""Where the seconds of a run go, by functions that are wrapped from outside: the library knows nothing of it.

Law: every moment belongs to the innermost wrapped call, so that the steps and the rest add up to the whole.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

REST = "rest"
"""The step of whatever no wrapped function does."""


class Stopwatch:
    """Seconds by step."""

    def __init__(self, began: float | None = None) -> None:
        """began: `time.perf_counter()` when the first step began; by default now."""
        self.seconds: dict[str, float] = {}
        self._steps = [REST]
        self._since = time.perf_counter() if began is None else began

    def lap(self, step: str | None = None) -> None:
        """Credit the time since the last lap to a step, by default the one that runs."""
        now = time.perf_counter()
        name = self._steps[-1] if step is None else step
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Credit what is done inside to a step, but for what belongs to a step further in."""
        self.lap()
        self._steps.append(name)
        try:
            yield
        finally:
            self.lap()
            self._steps.pop()

    @contextmanager
    def watching(self, steps: Mapping[str, Sequence[str]]) -> Iterator[None]:
        """Time the functions named `module:name` or `module:Class.name`, by step, while inside."""
        put_back: list[tuple[Any, str, Any]] = []
        try:
            for step, places in steps.items():
                for place in places:
                    owner, name = _found(place)
                    put_back.append((owner, name, getattr(owner, name)))
                    setattr(owner, name, self._timed(step, getattr(owner, name)))
            yield
        finally:
            for owner, name, function in reversed(put_back):
                setattr(owner, name, function)

    def _timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any, **options: Any) -> Any:
            with self.step(step):
                return function(*arguments, **options)

        return run


def _found(place: str) -> tuple[Any, str]:
    """Module or class that a function lies in, and its name there."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), name
