"""Silence in several threads, and its end when the last of them leaves."""

from __future__ import annotations

import os
import threading
import warnings

import cv2
import pytest

from hrnfit.quiet import _Shared, without_opencv_log, without_stderr, without_warnings


def overlapping(context) -> None:
    """A thread that enters first and leaves first, while this one stays inside."""
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with context():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with context():
        leave.set()
        thread.join()
        os.write(2, b"hidden")
        warnings.warn("hidden", stacklevel=1)


def test_filters_are_as_before_when_threads_leave_in_another_order():
    before = warnings.filters[:]
    overlapping(without_warnings)
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", stacklevel=1)


def test_standard_error_is_as_before_when_threads_leave_in_another_order(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        overlapping(without_stderr)
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def test_an_error_inside_ends_the_silence():
    before = warnings.filters[:]
    with pytest.raises(ValueError, match="inside"), without_warnings():
        raise ValueError("inside")
    assert warnings.filters == before


def test_the_log_of_opencv_is_as_before_when_threads_leave_in_another_order():
    log = cv2.utils.logging
    before = log.getLogLevel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        overlapping(without_opencv_log)
        with without_opencv_log():
            assert log.getLogLevel() == log.LOG_LEVEL_SILENT
    assert log.getLogLevel() == before


def test_what_was_changed_is_put_back_when_entering_fails():
    told: list[str] = []

    def enter(undo):
        undo.callback(told.append, "put back")
        raise OSError("no descriptor left")

    with pytest.raises(OSError, match="no descriptor left"), _Shared(enter)():
        pass
    assert told == ["put back"]
