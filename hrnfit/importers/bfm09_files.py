"""Where the files of the Basel model of 2009 lie: beside each other, or in the folders of HRN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hrnfit.importers import bfm09_raw
from hrnfit.model.format_error import ModelFormatError

FRONT_FILE = "BFM_model_front.mat"

SUBFOLDERS = ("", "BFM", "template_mesh", "bfm_albedo_map_basis", "3dmm_assets")
"""Of HRN's `assets`, and of what lies flat."""


def search_folders(path: Path, extras: Path | None) -> list[Path]:
    """Folders to look into, in order: that of the companions, then that of the file."""
    own = path if path.is_dir() else path.parent
    roots = [own] if extras is None else [extras, own]
    return [root / sub for root in roots for sub in SUBFOLDERS]


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """The first file of that name."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def model_files(path: Path, folders: Sequence[Path]) -> dict[str, Path]:
    """The converted file under its name, or all files of the raw set.

    Raises ModelFormatError that says what is missing.
    """
    if path.is_file() and path.name != bfm09_raw.MAIN:
        return {FRONT_FILE: path}
    converted = find(FRONT_FILE, folders) if path.is_dir() else None
    if converted is not None:
        return {FRONT_FILE: converted}
    found = {name: find(name, folders) for name in bfm09_raw.FILES}
    if path.is_file():
        found[bfm09_raw.MAIN] = path
    missing = [name for name, place in found.items() if place is None]
    if missing:
        raise ModelFormatError(
            f"{path}: expected {FRONT_FILE}, or the raw set, of which {', '.join(missing)} "
            "is missing; --extras names a second folder"
        )
    return {name: place for name, place in found.items() if place is not None}
