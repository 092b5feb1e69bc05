"""Camera files, one module per format and one table of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hrnfit.camera import Camera
from hrnfit.io.cameras.opencv import read_opencv, write_opencv

READERS: dict[str, Callable[[Path], tuple[Camera, ...]]] = {".json": read_opencv}
"""Reader by the file's suffix."""

WRITERS: dict[str, Callable[[Path, tuple[Camera, ...]], None]] = {".json": write_opencv}
"""Writer by the file's suffix."""


def load_cameras(path: str | Path) -> tuple[Camera, ...]:
    """Read a camera file; the format follows from its suffix."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"cameras: no file {path}; give a camera file, or none at all")
    return READERS[_suffix(path)](path)


def save_cameras(path: str | Path, cameras: Sequence[Camera]) -> None:
    """Write a camera file atomically; the format follows from its suffix."""
    path = Path(path)
    WRITERS[_suffix(path)](path, tuple(cameras))


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(
            f"{path}: camera files of type {suffix or 'without suffix'} are not known; "
            f"known: {', '.join(sorted(READERS))} (OpenCV list)"
        )
    return suffix
