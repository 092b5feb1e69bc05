"""What a damaged or hostile file of weights is made from, and what may come of it.

`SAME` an error or exactly the original tensors, `LIKE` an error or tensors of the same names, shapes and
types (where nothing in the file can tell: a format without checksums, a rewritten file), `ERROR` an error
and nothing else.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

SAME, LIKE, ERROR = "same", "like", "error"


@dataclass(frozen=True)
class Mutant:
    """A file and what may come of it."""

    content: bytes
    outcome: str


Rng = np.random.Generator


@dataclass(frozen=True)
class Sound:
    """The files that are damaged, and where a hostile one would leave its mark."""

    content: dict[str, Any]
    zipped: bytes
    legacy: bytes
    own: bytes
    mark: Path


Make = Callable[[Rng, Sound], Mutant]


def saved(content: Any, *, legacy: bool = False) -> bytes:
    """`torch.save` into memory."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with true checksums, names twice if they come twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content) if name not in archive.NameToInfo else _again(
                archive, info, content
            )
    return buffer.getvalue()


def _again(archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: bytes) -> None:
    """A second member of the same name, which `writestr` warns of."""
    del archive.NameToInfo[info.filename]
    archive.writestr(info, content)


def with_pickle(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with another data.pkl."""
    return zipped(
        [(n, change(c) if n.endswith("/data.pkl") else c) for n, c in members(data).items()]
    )


def pick(rng: Rng, items: list[Any]) -> Any:
    return items[int(rng.integers(len(items)))]
