"""`landmarks68.txt`: the vertices of the 68 iBUG points, which a user gives beside a model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int

from hrnfit.model.format_error import ModelFormatError

NAME = "landmarks68.txt"


def landmark_file(model: Path, extras: Path | None) -> Path | None:
    """The file in the folder of companions, or beside the model; None when there is none.

    Raises FileNotFoundError when a folder was named and is not there.
    """
    path = (extras or model.parent) / NAME
    return path if path.is_file() else None


def read_landmarks(path: Path, n_vertices: int) -> Int[np.ndarray, "68"]:
    """68 vertex numbers from 0, iBUG order, apart by white space; raises ModelFormatError else."""
    words = path.read_text(encoding="utf-8", errors="replace").split()
    if len(words) != 68 or not all(word.isdecimal() for word in words):
        raise ModelFormatError(
            f"{path}: expected 68 vertex numbers from 0, apart by white space, got {len(words)} "
            "words or no whole numbers"
        )
    found = np.array([int(word) for word in words])
    if found.max() >= n_vertices:
        raise ModelFormatError(f"{path}: vertex {found.max()}, but the model has {n_vertices}")
    return found
