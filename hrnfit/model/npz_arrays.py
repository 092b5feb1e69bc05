"""Arrays of an npz that nobody vouches for: nothing is allocated before its size is known to be true.

numpy's own reader believes the shape in an array's header; a damaged one asks for any amount of
memory. Here the header must agree with the length that the archive states for the entry, the whole
must stay below a limit, and the archive's checksums are verified to the end.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hrnfit.model.format_error import ModelFormatError

LIMIT = 1_500_000_000
"""Bytes of all arrays together; the largest known model (BFM with maps of 512 texels) has 0.4e9."""

CHUNK = 1 << 24
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError),
    *(NotImplementedError, RuntimeError, KeyError, SyntaxError, tokenize.TokenError, MemoryError),
)
"""What the standard library raises on damaged archives and headers."""


def read_npz(path: Path, limit: int = LIMIT) -> dict[str, np.ndarray]:
    """Every array of an npz by key; raises ModelFormatError when it is damaged, holds Python objects
    or is larger than `limit` bytes, OSError when the file cannot be opened."""
    with path.open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                entries = archive.infolist()
                total = sum(entry.file_size for entry in entries)
                if total > limit:
                    raise ValueError(f"{total} bytes of arrays, more than any model has")
                return {
                    entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries
                }
        except ModelFormatError as error:
            raise ModelFormatError(f"model file {path}: {error}") from error
        except DAMAGE as error:
            reason = str(error) or type(error).__name__
            raise ModelFormatError(
                f"model file {path}: not a readable npz ({reason}); copy or export it again"
            ) from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One entry, its header checked against its length."""
    key = entry.filename.removesuffix(".npy")
    with archive.open(entry) as member:
        shape, fortran, dtype = npy_header(member)
        if dtype.hasobject:
            raise ModelFormatError(
                f"{key}: not a readable npz (it holds Python objects); save plain arrays"
            )
        count = 1
        for length in shape:
            count *= length
        size = count * dtype.itemsize
        stated = entry.file_size - member.tell()
        if size != stated or min(shape, default=0) < 0:
            raise ValueError(f"{key}: shape {shape} needs {size} bytes, the entry has {stated}")
        buffer = np.empty(size, dtype=np.uint8)
        at = 0
        while at < size:
            part = member.read(min(CHUNK, size - at))
            if not part:
                raise ValueError(f"{key}: the entry ends early")
            buffer[at : at + len(part)] = np.frombuffer(part, dtype=np.uint8)
            at += len(part)
        if member.read(1):  # reading on to the end verifies the checksum
            raise ValueError(f"{key}: the entry is longer than stated")
    return buffer.view(dtype).reshape(shape, order="F" if fortran else "C")


def npy_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an npy stream."""
    version = np.lib.format.read_magic(member)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"array format {version} is not known")
    return readers[version](member)
