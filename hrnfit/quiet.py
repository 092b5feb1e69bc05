"""Silence from other people's code in several threads at once.

`warnings.catch_warnings` and the descriptor of standard error belong to the whole process: two threads that
change them and put them back in another order than they came leave them changed for good. Here the first
thread that enters changes them and the last one that leaves puts them back.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


class _Shared:
    """A context that any number of threads are in together."""

    def __init__(self, enter: Callable[[ExitStack], None]) -> None:
        self._enter, self._lock = enter, threading.Lock()
        self._inside, self._undo = 0, ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                with ExitStack() as undo:  # put back what was changed if the rest cannot be
                    self._enter(undo)
                    self._undo = undo.pop_all()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._undo.close()


def _ignore_warnings(undo: ExitStack) -> None:
    undo.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")


def _close_stderr(undo: ExitStack) -> None:
    try:
        saved = os.dup(2)
    except OSError:  # no stderr at all (a windowed program): nothing to silence
        return
    undo.callback(os.close, saved)
    undo.callback(os.dup2, saved, 2)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
    finally:
        os.close(silent)


def _silence_opencv(undo: ExitStack) -> None:
    import cv2  # local: costly, and not every user of this module needs it

    log = cv2.utils.logging
    undo.callback(log.setLogLevel, log.setLogLevel(log.LOG_LEVEL_SILENT))


without_warnings = _Shared(_ignore_warnings)
"""`with without_warnings():` no warning is shown or raised, in any thread."""

without_stderr = _Shared(_close_stderr)
"""`with without_stderr():` nothing reaches standard error, also from code that is not Python."""

without_opencv_log = _Shared(_silence_opencv)
"""`with without_opencv_log():` OpenCV says nothing of the images that it decodes."""
