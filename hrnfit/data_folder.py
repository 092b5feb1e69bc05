"""Where this library keeps what a user adds to it: models, networks, downloads, correspondences."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path


def user_folder() -> Path:
    """Folder of the user's data: `HRNFIT_HOME`, else the platform's place for application data."""
    if home := os.environ.get("HRNFIT_HOME"):
        return Path(home).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "hrnfit"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/hrnfit").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "hrnfit"


def check_plain_name(what: str, name: str) -> None:
    """A name of the user's is a plain file stem on every system; `what` says of what, in the message."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise ValueError(f"{what} name '{name}': use up to 64 letters, digits, - and _")
    if re.fullmatch(r"(?i)con|prn|aux|nul|(com|lpt)[0-9]", name):
        raise ValueError(f"{what} name '{name}': Windows keeps it for a device; choose another")
