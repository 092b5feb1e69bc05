"""Numeric arrays and texts of an HDF5 file, for `read_isolated`.

Shapes are judged before anything of their size is read; of a wide array only the wanted columns are.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from hrnfit.importers.isolated import Options
from hrnfit.model.format_error import ModelFormatError

LIMIT = 120_000_000
"""Numbers read of one array; a Basel model's largest has 3 x 58203 x 199."""

LONGEST_TEXT = 1_000_000
"""Bytes; the landmarks of a Basel model have 6000."""

INSTALL = "reading HDF5 files needs h5py: pip install 'hrnfit[hdf5]'"


def read(path: Path, options: Options) -> dict[str, np.ndarray]:
    """The datasets named in `options["keys"]`, and those of `options["maybe"]` that are there.

    `options["columns"]`: of these only so many columns. `options["texts"]`: read as UTF-8 bytes, if there.
    Raises ModelFormatError for a missing key, one that holds no numbers, or states more than `LIMIT`
    of them; ImportError without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(INSTALL) from error
    if not h5py.is_hdf5(str(path)):
        raise ModelFormatError("not an HDF5 file; expected one like model2017-1_bfm_nomouth.h5")
    found: dict[str, np.ndarray] = {}
    with h5py.File(str(path), "r") as opened:
        names = _datasets(opened)
        _check_there(names, options["keys"])
        for key in [*options["keys"], *(k for k in options.get("maybe", ()) if k in names)]:
            found[key] = _numbers(opened[key], key, options.get("columns", {}).get(key))
        for key in options.get("texts", ()):
            if key in names:
                found[key] = _text(opened[key], key)
    return found


def _datasets(opened: Any) -> set[str]:
    """Paths of all datasets of a file."""
    import h5py

    names: set[str] = set()
    opened.visititems(
        lambda name, item: names.add(name) if isinstance(item, h5py.Dataset) else None
    )
    return names


def _check_there(names: set[str], keys: list[str]) -> None:
    missing = [key for key in keys if key not in names]
    if missing:
        there = ", ".join(sorted(names)[:20]) or "no dataset"
        raise ModelFormatError(f"missing {', '.join(missing)}; it holds {there}")


def _numbers(dataset: Any, key: str, columns: int | None) -> np.ndarray:
    """A dataset, or its first columns."""
    if dataset.dtype.kind not in "fiu":
        raise ModelFormatError(f"{key}: expected numbers, got {dataset.dtype}")
    shape = tuple(dataset.shape)
    wanted = (*shape[:-1], min(shape[-1], columns)) if shape and columns else shape
    if math.prod(wanted) > LIMIT:
        raise ModelFormatError(f"{key}: shape {shape} is more than any model has")
    _check_stored(dataset, key, shape)
    return np.asarray(dataset[..., : wanted[-1]] if wanted != shape else dataset[()])


def _check_stored(dataset: Any, key: str, shape: tuple[int, ...]) -> None:
    """The file itself must hold what the header states: HDF5 reads zeros where nothing was stored, and any
    other file that a dataset names."""
    if dataset.external or dataset.is_virtual:
        raise ModelFormatError(f"{key}: its numbers lie in another file, which is not opened")
    if dataset.chunks is None:
        lacks = dataset.id.get_storage_size() < math.prod(shape) * dataset.dtype.itemsize
    else:
        chunks = (-(-n // step) for n, step in zip(shape, dataset.chunks, strict=True))
        lacks = dataset.id.get_num_chunks() < math.prod(chunks)
    if lacks:
        raise ModelFormatError(f"{key}: shape {shape}, but the file holds less; copy it again")


def _text(dataset: Any, key: str) -> np.ndarray:
    """A text, however it was stored: one string, a list of one, or the codes of its characters."""
    if math.prod(dataset.shape) * max(dataset.dtype.itemsize, 1) > LONGEST_TEXT:
        raise ModelFormatError(f"{key}: shape {tuple(dataset.shape)} is longer than any text")
    if dataset.external or dataset.is_virtual:
        raise ModelFormatError(f"{key}: its text lies in another file, which is not opened")
    value = dataset[()]
    if isinstance(value, np.ndarray):
        whole = value.dtype.kind in "iuS" or value.size != 1
        value = value.tobytes() if whole else value.ravel()[0]
    raw = value.encode() if isinstance(value, str) else bytes(value)
    return np.frombuffer(raw.rstrip(b"\x00")[:LONGEST_TEXT], dtype=np.uint8)
