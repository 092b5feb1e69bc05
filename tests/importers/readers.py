"""Readers that misbehave, for the child process of `read_isolated`. Imports numpy only."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def numbers(path: Path, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The bytes of the file, and what was asked for."""
    return {
        "bytes": np.frombuffer(path.read_bytes(), np.uint8),
        "asked": np.array(options["asked"]),
    }


def crashes(path: Path, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Reads the address 0."""
    ctypes.string_at(0)
    return {}


def loops(path: Path, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Computes for ever."""
    while True:
        pass


def waits(path: Path, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Waits for ever."""
    time.sleep(1e6)
    return {}


def hoards(path: Path, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Asks for 64 GB, and uses them."""
    return {"much": np.ones(8_000_000_000)}


def objects(path: Path, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Answers with Python objects."""
    return {"things": np.array([path], dtype=object)}


def lacks(path: Path, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Misses a package."""
    raise ImportError("pip install 'hrnfit[something]'")


def refuses(path: Path, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Says what is wrong, over two lines."""
    from hrnfit.model.format_error import ModelFormatError

    raise ModelFormatError("key mean:\nexpected (N, 3)")
