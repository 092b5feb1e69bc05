"""A folder that results will be saved in, tried before a fit."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from hrnfit.fit.export import check_not_ours


def check_folder(folder: Path, asked: str) -> None:
    """Raise OSError when a result could not be saved there; creates nothing that stays.

    asked: the request in the caller's own terms, such as `--out face`.
    """
    check_not_ours(folder)
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, f"{asked}: {place} is a file; choose another folder"
        )
    # results are completed beside their folder and then moved into it
    for tried in {place, folder.resolve().parent if folder.exists() else place}:
        try:
            with tempfile.TemporaryFile(dir=tried):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise type(error)(
                error.errno, f"{asked}: cannot write in {tried} ({reason}); choose another folder"
            ) from error
