"""What the tests of processes send there: it must stand in a module that a process can import."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from hrnfit.fit.result import FitResult


class Odd(Exception):
    """An exception that pickle cannot rebuild."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


@dataclass(frozen=True)
class Ends:
    """A detector that does something to its process."""

    how: str

    def detect(self, image: Any) -> None:
        if self.how == "exit":
            os._exit(3)
        if self.how == "odd":
            raise Odd("no", "way")
        time.sleep(60)


def finish(name: str, result: FitResult) -> tuple[str, int, Any]:
    """The name, the process, and the model, which must come back as the caller's own."""
    if name == "two":
        raise OSError("the disk is full")
    return name, os.getpid(), result.model
