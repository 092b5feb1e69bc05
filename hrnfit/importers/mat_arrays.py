"""Numeric arrays of a MATLAB file up to version 7, for `read_isolated`; version 7.3 is HDF5 and refused.

The sizes that a file states are judged before anything of that size is read.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from hrnfit.importers.isolated import Options
from hrnfit.model.format_error import ModelFormatError

LIMIT = 250_000_000
"""Numbers in one array; the largest of the Basel model of 2009 has 160470 x 199."""

HDF5 = b"\x89HDF\r\n\x1a\n"


def read(path: Path, options: Options) -> dict[str, np.ndarray]:
    """The arrays named in `options["keys"]`; of those in `options["columns"]` only so many columns.

    Raises ModelFormatError for a missing key, for one that holds no plain numbers or states more than
    `LIMIT` of them, and for a file of version 7.3.
    """
    from scipy.io import loadmat, whosmat

    _check_version(path)
    keys: list[str] = options["keys"]
    listed = {name: shape for name, shape, _ in whosmat(str(path))}
    _check_listed(listed, keys)
    found: dict[str, np.ndarray] = {}
    for key in keys:
        value: Any = loadmat(str(path), variable_names=[key])[key]
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            what = getattr(value, "dtype", type(value).__name__)
            raise ModelFormatError(f"{key}: expected an array of numbers, got {what}")
        if key in options.get("columns", {}):
            value = np.array(value[:, : options["columns"][key]], order="F")
        found[key] = value
    return found


def _check_version(path: Path) -> None:
    """Not HDF5, which may follow a MATLAB header of 512 bytes."""
    with path.open("rb") as opened:
        head = opened.read(520)
    if head.startswith((HDF5, b"MATLAB 7.3")) or head[512:] == HDF5:
        raise ModelFormatError(
            "a MATLAB 7.3 file (HDF5), expected version 5 to 7; open it in MATLAB and write it again "
            "with save(..., '-v7')"
        )


def _check_listed(listed: dict[str, tuple[int, ...]], keys: list[str]) -> None:
    """Every key is there, and none states an absurd size."""
    missing = [key for key in keys if key not in listed]
    if missing:
        there = ", ".join(sorted(listed)[:20]) or "nothing"
        raise ModelFormatError(f"missing {', '.join(missing)}; it holds {there}")
    for key in keys:
        if math.prod(listed[key]) > LIMIT or min(listed[key], default=0) < 0:
            raise ModelFormatError(f"{key}: shape {listed[key]} is more than any model has")
