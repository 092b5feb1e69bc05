"""A file that is plainly of another kind is told by its first bytes, before a reader of the wrong format guesses."""

from __future__ import annotations

from pathlib import Path

from hrnfit.first_bytes import NEVER, container_of
from hrnfit.model.format_error import ModelFormatError

READ_AS = {
    "an npz or zip file": ("npz", "ict"),
    "an HDF5 file": ("bfm17", "bfm19"),
    "a MATLAB file": ("bfm09", "hifi3d", "hifi3dpp"),
    "an npy file": ("faceverse",),
    "a pickle": ("flame",),
}
"""Kinds of `hrnfit models add` whose file is such a one."""


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
