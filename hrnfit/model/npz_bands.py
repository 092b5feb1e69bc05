"""Single arrays of a large npz, and the largest in bands: what need not fit into memory at once.

The same distrust as in `npz_arrays.py`: shapes must agree with the lengths that the archive states.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.npz_arrays import DAMAGE, LIMIT, npy_header


class Entry(NamedTuple):
    """An array in an archive, opened at its first number."""

    stream: IO[bytes]
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every array of an npz; raises ModelFormatError when it is damaged."""
    with _archive(path) as archive:
        shapes = {}
        for name in archive.namelist():
            with _entry(archive, name) as entry:
                shapes[name.removesuffix(".npy")] = entry.shape
        return shapes


def read_npz_keys(path: Path, keys: list[str]) -> dict[str, np.ndarray]:
    """Some arrays of an npz, whole."""
    found = {}
    for key in keys:
        with _archive(path) as archive, _entry(archive, f"{key}.npy") as entry:
            found[key] = _whole(entry)
    return found


def read_npz_bands(path: Path, key: str, length: int) -> Iterator[np.ndarray]:
    """The numbers of an array in the order of its rows, `length` at a time, flat."""
    with _archive(path) as archive, _entry(archive, f"{key}.npy") as entry:
        total = prod(entry.shape)
        if length < 1 or total % length:
            raise ValueError(f"{key}: {total} numbers are no bands of {length}")
        if entry.fortran and len(entry.shape) > 1:
            yield from _whole(entry).reshape(-1, length)
            return
        for _ in range(total // length):
            raw = entry.stream.read(length * entry.dtype.itemsize)
            if len(raw) != length * entry.dtype.itemsize:
                raise ValueError(f"{key}: the entry ends early")
            yield np.frombuffer(raw, entry.dtype)


def _whole(entry: Entry) -> np.ndarray:
    raw = entry.stream.read()
    order = "F" if entry.fortran else "C"
    return np.frombuffer(raw, entry.dtype).reshape(entry.shape, order=order)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; damage of any kind ends in a ModelFormatError."""
    with path.open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                yield archive
        except ModelFormatError:
            raise
        except DAMAGE as error:
            reason = str(error) or type(error).__name__
            raise ModelFormatError(
                f"{path}: not a readable npz ({reason}); copy or download it again"
            ) from error


@contextmanager
def _entry(archive: zipfile.ZipFile, name: str) -> Iterator[Entry]:
    """An entry whose header agrees with its length."""
    info = archive.getinfo(name)
    with archive.open(info) as stream:
        shape, fortran, dtype = npy_header(stream)
        if dtype.hasobject or dtype.kind not in "biuf":
            raise ValueError(f"{name}: an array of {dtype}; expected numbers")
        size, stated = prod(shape) * dtype.itemsize, info.file_size - stream.tell()
        if size != stated or min(shape, default=0) < 0 or size > LIMIT:
            raise ValueError(f"{name}: shape {shape} needs {size} bytes, the entry has {stated}")
        yield Entry(stream, shape, fortran, dtype)
