"""Writes a whole result into a folder: archive, meshes, maps, cameras, landmarks, overlays, report.

Everything is written into a temporary folder beside the target first. Only when all of it stands
are the files renamed into place, `result.json` last, so that a failure leaves the earlier result.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hrnfit.fit.archive import RESULT_FILE, finite, read_document, save_state, save_summary
from hrnfit.fit.export_maps import write_maps
from hrnfit.fit.export_meshes import write_meshes
from hrnfit.fit.head_frame import exported_cameras
from hrnfit.fit.licensing import licence_text
from hrnfit.fit.overlay import ViewPictures, contact_strip, overlay, view_pictures
from hrnfit.fit.report import write_report
from hrnfit.fit.result import LEVELS, FitResult
from hrnfit.io.cameras.opencv import write_opencv
from hrnfit.io.image import png_bytes
from hrnfit.render.backend import rasterizer
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.tree import write_bytes

log = logging.getLogger(__name__)

LICENCES = "licences.txt"
"""Terms and attributions to pass on with the meshes; absent where a result does not record them."""

TOP = tuple(map(Path, ("cameras.json", "landmarks.json", "report.html", "state.npz")))
"""What every result has at the top of its folder, beside `result.json`."""

CONVERSION_FILE = "conversion.json"
"""What a conversion says of itself; see `hrnfit/transfer/`."""

Progress = Callable[[str, float], None]
"""Told the name of each part and the fraction done, 0..1."""


def save_result(result: FitResult, directory: str | Path, progress: Progress | None = None) -> Path:
    """Write everything into `directory` and return it; raises OSError with advice.

    Files of an earlier result there are replaced or, if this one has no such file, removed. Other
    files in the folder stay: one that would be overwritten is an error.
    """
    return save_folder(
        directory, lambda folder: write_parts(result, folder, progress or _silent), RESULT_FILE
    )


def save_folder(directory: str | Path, write: Callable[[Path], None], last: str) -> Path:
    """Let `write` fill an empty folder, and put its files in place when all of them stand, `last` last.

    As `save_result` does it: files of an earlier result or conversion go, others stay.
    """
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, f"cannot save to {directory}: it is a file; choose another folder"
        )
    check_not_ours(directory)
    try:
        target = directory.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _explained(directory, error) from error
    try:
        write(temporary)
        _put_in_place(temporary, target, last)
    except OSError as error:
        raise _explained(directory, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    log.info("written to %s", directory)
    return directory


def check_not_ours(directory: Path, names: Iterable[Path] = TOP) -> None:
    """Raise FileExistsError when a result would overwrite what no result has put there: a rig's own
    cameras.json, say."""
    ours = {*_files_of(directory), Path(RESULT_FILE)}
    foreign = sorted(str(n) for n in names if n not in ours and (directory / n).is_file())
    if foreign:
        raise FileExistsError(
            errno.EEXIST,
            f"cannot save to {directory}: {', '.join(foreign[:3])} there would be overwritten and is of no "
            "earlier result; choose another folder",
        )


def write_parts(result: FitResult, directory: Path, progress: Progress) -> None:
    """Write every file of a result into an empty folder."""
    progress("meshes", 0.0)
    with ThreadPoolExecutor(2, thread_name_prefix="hrnfit-export") as beside:
        write_meshes(result, directory / "meshes")
        maps = beside.submit(write_maps, result.maps, directory / "maps")
        state = beside.submit(save_state, result, directory)
        write_json(directory / "landmarks.json", landmarks_document(result))
        write_opencv(directory / "cameras.json", exported_cameras(result))
        if text := licence_text(result.provenance):
            write_bytes(directory / LICENCES, text.encode())
        progress("overlays", 0.2)
        pictures = write_overlays(result, directory / "overlays", progress)
        progress("report", 0.75)
        write_report(result, pictures, directory / "report.html")
        progress("archive", 0.95)
        described, _ = maps.result(), state.result()
    files = sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())
    save_summary(result, directory, {"maps": described, "files": files})
    progress("done", 1.0)


def write_overlays(
    result: FitResult, directory: Path, progress: Progress
) -> tuple[ViewPictures, ...]:
    """`<view>_<level>.png` and `<view>_strip.png` for every view; the pictures for the report.

    Views are drawn side by side, which takes about 100 MB each, and written in their order.
    """
    renderer, count = rasterizer("cpu"), len(result.view_names)
    drawn: list[ViewPictures] = []
    # not the pool of the renderer's loops, which these threads wait for
    with ThreadPoolExecutor(max(1, min(torch.get_num_threads(), count, 8))) as threads:
        for found, files in threads.map(partial(_drawn, result, renderer), range(count)):
            for name, content in files.items():
                write_bytes(directory / name, content)
            drawn.append(found)
            progress("overlays", 0.2 + 0.55 * len(drawn) / count)
    return tuple(drawn)


def _drawn(
    result: FitResult, renderer: Rasterizer, view: int
) -> tuple[ViewPictures, dict[str, bytes]]:
    """Pictures of a view, and its files."""
    pictures = view_pictures(result, view, renderer)
    stem = safe_stem(pictures.name)
    files = {f"{stem}_{level}.png": png_bytes(overlay(pictures, level)) for level in LEVELS}
    return pictures, files | {f"{stem}_strip.png": png_bytes(contact_strip(pictures))}


def landmarks_document(result: FitResult) -> dict[str, dict[str, list[list[float | None]]]]:
    """Scheme -> level -> [[x, y, z], ...] in the world, mm; null where the model lacks a point."""
    return {
        scheme: {level: finite(points.detach().cpu().tolist()) for level, points in levels.items()}
        for scheme, levels in result.landmarks.items()
    }


def write_json(path: Path, document: object) -> None:
    """A JSON file, atomically; NaN is an error, since JSON has none."""
    text = json.dumps(document, indent=1, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def safe_stem(name: str) -> str:
    """A view's name as a part of a file name: separators and control characters become `_`."""
    kept = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ")
    return kept or "view"


def _put_in_place(temporary: Path, target: Path, last: str) -> None:
    os.chmod(temporary, 0o777 & ~_umask())
    if not target.exists():
        os.replace(temporary, target)
        return
    stale = _files_of(target)
    new = [p.relative_to(temporary) for p in temporary.rglob("*") if p.is_file()]
    check_not_ours(target, new)
    for path in sorted(new, key=lambda p: p.as_posix() == last):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary / path, target / path)
    for path in stale - set(new):
        (target / path).unlink(missing_ok=True)


def _files_of(directory: Path) -> set[Path]:
    """Files that an earlier result or conversion in the folder says are its own, and that lie inside it."""
    names: list[Any] = []
    with contextlib.suppress(OSError, ValueError):
        names += read_document(directory).get("files", [])
    with contextlib.suppress(OSError, ValueError):
        document = json.loads((directory / CONVERSION_FILE).read_text(encoding="utf-8"))
        names += document.get("files", []) if isinstance(document, dict) else []
    paths = {Path(name) for name in names if isinstance(name, str)}
    return {p for p in paths if not p.is_absolute() and ".." not in p.parts}


def _umask() -> int:
    """The process's mask for new files; reading it means setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _explained(directory: Path, error: OSError) -> OSError:
    if str(error.strerror).startswith("cannot save"):  # said already, by `check_not_ours`
        return error
    reasons = {
        errno.ENOSPC: "the disk is full; free some space or choose another folder",
        errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
        errno.EACCES: "no permission to write there; choose another folder",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.EFBIG: "a file would be larger than allowed; raise `ulimit -f` or choose another folder",
        errno.EEXIST: "a part of the path is a file, not a folder; choose another folder",
        errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
        errno.ENOENT: "that folder cannot be made; choose another folder",
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    text = f"cannot save the result to {directory}: {reason}; what was there before is untouched"
    return type(error)(error.errno, text)


def _silent(part: str, fraction: float) -> None:
    """Progress that nobody watches."""
