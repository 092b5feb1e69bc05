"""Where this library keeps what a user adds to it: models, networks, downloads, correspondences."""

from __future__ import annotations

import os
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
