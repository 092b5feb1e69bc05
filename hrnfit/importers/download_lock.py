"""One download into a folder at a time: two would add to the same partial files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hrnfit.importers.download import DownloadError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `<folder>.lock` beside a folder while it is in use.

    Raises DownloadError when it is there already: another process is at work, or one was killed.
    """
    path = folder.with_name(folder.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError as error:
        raise DownloadError(
            f"{folder}: another download into it is under way; wait for its end. If there is none, "
            f"delete {path}"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
