"""What a file is by its first bytes, whatever its name says: told before a reader of another format guesses."""

from __future__ import annotations

import re
from pathlib import Path

from hrnfit.model.format_error import ModelFormatError

SIGNS: tuple[tuple[bytes, str], ...] = (
    (rb"PK\x03\x04", "an npz or zip file"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (rb"MATLAB ", "a MATLAB file"),
    (rb"\x93NUMPY", "an npy file"),
    (rb"\x80[\x02-\x05]", "a pickle"),
    (rb"\((d|l)p\d*\n", "a pickle"),
    (rb"version https://git-lfs", "a pointer of Git LFS"),
    (rb"\s*<(!DOCTYPE|html|\?xml)", "a web page"),
)
"""First bytes, as a pattern, and what begins so."""

READ_AS = {
    "an npz or zip file": ("npz", "ict"),
    "an HDF5 file": ("bfm17", "bfm19"),
    "a MATLAB file": ("bfm09", "hifi3d", "hifi3dpp"),
    "an npy file": ("faceverse",),
    "a pickle": ("flame",),
}
"""Kinds of `hrnfit models add` whose file is such a one."""

NEVER = {
    "a web page": "the download ended at a page, of a login perhaps; download the file itself",
    "a pointer of Git LFS": "fetch the file itself with `git lfs pull`",
}


def container_of(path: Path) -> str:
    """What a file is, as the words of `SIGNS`; empty when nothing is recognised."""
    with path.open("rb") as opened:
        head = opened.read(64)
    return next((name for sign, name in SIGNS if re.match(sign, head, re.IGNORECASE)), "")


def check_container(path: Path, kind: str) -> None:
    """Raise ModelFormatError when a file is plainly another one than a kind reads."""
    found = container_of(path) if path.is_file() else ""
    if found in NEVER:
        raise ModelFormatError(f"{path}: this is {found}, no model; {NEVER[found]}")
    kinds = READ_AS.get(found, (kind,))
    if kind not in kinds:
        raise ModelFormatError(
            f"{path}: this is {found}, and the kind '{kind}' is another; add it as {_listed(kinds)}"
        )


def check_own(path: Path) -> None:
    """The same for files that are opened as a model, without a kind."""
    found = container_of(path)
    if found in NEVER:
        raise ModelFormatError(f"{path}: this is {found}, no model; {NEVER[found]}")
    kinds = READ_AS.get(found, ("npz",))
    if "npz" not in kinds:
        raise ModelFormatError(
            f"{path}: this is {found}; convert it once, `hrnfit models add {kinds[0]} {path}`, then "
            f"--model {kinds[0]}" + (f" (or as {_listed(kinds[1:])})" if len(kinds) > 1 else "")
        )


def _listed(kinds: tuple[str, ...]) -> str:
    return " or ".join(kinds)
