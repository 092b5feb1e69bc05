"""A dictionary that numpy pickled into an .npy file, read without running what it says, for `read_isolated`.

`numpy.load` with pickles allowed would call anything that a file names. Here only what arrays of numbers
and texts are made of is let in.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hrnfit.importers.isolated import Options
from hrnfit.model.format_error import ModelFormatError


def _latin(text: str, encoding: str) -> bytes:
    """How old pickles write bytes; any other codec is turned away."""
    if encoding not in ("latin1", "latin-1"):
        raise ModelFormatError(
            f"its pickle asks for the codec '{encoding}'; it is no plain dictionary"
        )
    return text.encode("latin1")


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
    """What a pickle of arrays may name. numpy's module is called `core` in old files, `_core` in new."""
    found: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _latin,
    }
    from numpy._core import multiarray  # the same functions under both names

    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found[module, "_reconstruct"] = multiarray._reconstruct
        found[module, "scalar"] = multiarray.scalar
    return found


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain containers, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """The function or type of an admitted name; ModelFormatError for others."""
        known = _admitted()
        if (module, name) not in known:
            raise ModelFormatError(
                f"its pickle asks for {module}.{name}; a model holds arrays only, so it is not read"
            )
        return known[module, name]


def read(path: Path, options: Options) -> dict[str, np.ndarray]:
    """Arrays of the dictionary: those in `options["keys"]`, and those of `options["maybe"]` that are there.

    Raises ModelFormatError when the file is no such dictionary, a key is missing, or holds neither
    numbers nor texts.
    """
    with path.open("rb") as opened:
        _check_header(opened)
        whole = ArrayUnpickler(opened, encoding="latin1").load()
    if isinstance(whole, np.ndarray) and whole.shape == () and whole.dtype == object:
        whole = whole.item()
    if not isinstance(whole, dict):
        raise ModelFormatError(f"holds a {type(whole).__name__}, expected a dictionary of arrays")
    missing = [key for key in options["keys"] if key not in whole]
    if missing:
        there = ", ".join(sorted(str(key) for key in whole)[:30]) or "nothing"
        raise ModelFormatError(f"missing {', '.join(missing)}; it holds {there}")
    wanted = [*options["keys"], *(key for key in options.get("maybe", ()) if key in whole)]
    return {key: _array(key, whole[key]) for key in wanted}


def _check_header(opened: BinaryIO) -> None:
    """The stream is an .npy of one object."""
    try:
        version = np.lib.format.read_magic(opened)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = header(opened)
    except (ValueError, KeyError) as error:
        raise ModelFormatError("not an .npy file; copy or download it again") from error
    if not dtype.hasobject or shape not in ((), (1,)):
        raise ModelFormatError(f"an array of {dtype} {shape}, expected one pickled dictionary")


def _array(key: str, value: object) -> np.ndarray:
    """Numbers or texts."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiubU":
        raise ModelFormatError(f"{key}: expected numbers or texts, got {array.dtype}")
    return array
