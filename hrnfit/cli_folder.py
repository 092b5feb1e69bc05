"""The folder of the results: tried before a fit, and never a reason to lose one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hrnfit.fit.result import FitResult


def check_folder(out: Path) -> None:
    """Raise OSError when results could not be written there; creates nothing that stays."""
    from hrnfit.fit.save_folder import check_folder as check  # local: torch

    check(out, f"--out {out}")


@contextmanager
def saving_what_is_done(out: Path) -> Generator[None]:
    """A fit that runs out of memory within it leaves what its finished stages reached in `out`, and says so."""
    from hrnfit.fit.out_of_memory import OutOfMemoryError

    try:
        yield
    except OutOfMemoryError as error:
        if error.partial is None:
            raise
        save_or_rescue(error.partial, out)
        raise OutOfMemoryError(f"{error}: it is saved in {out}", error.partial) from error


def save_or_rescue(result: FitResult, out: Path) -> None:
    """Save into `out`; when that fails, into a temporary folder that the error names."""
    try:
        result.save(out)
    except OSError as error:
        reason = error.strerror or str(error)
        rescue = Path(tempfile.mkdtemp(prefix="hrnfit-rescued-"))
        try:
            result.save(rescue)
        except OSError:
            shutil.rmtree(rescue, ignore_errors=True)
            raise error from None
        raise type(error)(
            error.errno, f"{reason}; nothing is lost: this result is in {rescue}"
        ) from error
