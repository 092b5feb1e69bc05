"""A dictionary that numpy pickled into an .npy file, read without running what it says, for `read_isolated`.

`numpy.load` with pickles allowed would call anything that a file names; `restricted_pickle` reads it here.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from hrnfit.importers.isolated import Options
from hrnfit.importers.pickled_arrays import LISTED, array_of, single
from hrnfit.importers.restricted_pickle import LARGEST, unpickled
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.npz_arrays import DAMAGE, npy_header


def read(path: Path, options: Options) -> dict[str, np.ndarray]:
    """Arrays of the dictionary: those in `options["keys"]`, and those of `options["maybe"]` that are there.

    Raises ModelFormatError when the file is no such dictionary, a key is missing, or holds neither
    numbers nor texts.
    """
    whole = saved_object(path)
    if not isinstance(whole, dict):
        raise ModelFormatError(f"holds a {type(whole).__name__}, expected a dictionary of arrays")
    missing = [key for key in options["keys"] if key not in whole]
    if missing:
        there = ", ".join(sorted(str(key) for key in whole)[:30]) or "nothing"
        raise ModelFormatError(f"missing {', '.join(missing)}; it holds {there}")
    wanted = [*options["keys"], *(key for key in options.get("maybe", ()) if key in whole)]
    return {key: _array(key, whole[key]) for key in wanted}


def saved_object(path: Path) -> Any:
    """The object in an .npy file of object type: plain values, with records where arrays were."""
    if path.stat().st_size > LARGEST:
        raise ModelFormatError(f"{path.stat().st_size} bytes, more than any model has")
    stream = io.BytesIO(path.read_bytes())
    try:
        shape, _, dtype = npy_header(stream)
    except DAMAGE as error:
        raise ModelFormatError("not an .npy file; copy or download it again") from error
    if not dtype.hasobject or shape != ():
        raise ModelFormatError(f"an array of {dtype} {shape}, expected one pickled dictionary")
    return single(unpickled(stream.read()))


def _array(key: str, value: Any) -> np.ndarray:
    """Numbers, or a list of texts."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value[:LISTED]):
        return np.array(value[:LISTED], dtype=np.str_)
    try:
        return array_of(value)
    except ValueError as error:
        raise ModelFormatError(f"{key}: {error}") from error
