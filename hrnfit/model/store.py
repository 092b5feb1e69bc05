"""Where models live: the package, the user's data folder, or a path the user names.

`HRNFIT_HOME` replaces the platform's folder. Reading the files is not here: see `load.py`.
"""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path

from hrnfit.data_folder import check_plain_name, user_folder
from hrnfit.model.format_error import ModelFormatError

GENERIC = "generic"


def models_folder() -> Path:
    """Where `hrnfit models add` writes."""
    return user_folder() / "models"


def generic_file() -> Path:
    """The packaged model: inside the wheel, or beside the package in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    places = [root / "priors" / "generic" / "generic.npz" for root in (package, package.parent)]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"the packaged model 'generic' is missing (looked at {places[0]} and {places[1]}); "
        "reinstall hrnfit, or in a source checkout run `python -m priors.generic.build`"
    )


def model_files() -> dict[str, Path]:
    """Every model known by name, in the order generic, then the user's own sorted."""
    found: dict[str, Path] = {}
    with contextlib.suppress(FileNotFoundError):
        found[GENERIC] = generic_file()
    for path in sorted(models_folder().glob("*.npz")):
        if path.is_file() and not path.name.startswith("."):  # half-written ones begin with a dot
            found.setdefault(path.stem, path)
    return found


def check_name(name: str) -> None:
    """A model's name is a plain file stem."""
    check_plain_name("model", name)
    if name == GENERIC:
        raise ValueError("model name 'generic' is taken by the packaged model; choose another")


def check_readable(path: Path) -> None:
    """A file or folder is there; what is neither, a pipe or a device, would never end."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; check the path")
    if not (path.is_file() or path.is_dir()):
        raise ModelFormatError(f"{path}: neither a file nor a folder; give the model's own file")


def resolve(name_or_path: str | Path) -> Path:
    """The file (or ICT folder) of a model given by name or path."""
    if str(name_or_path) == GENERIC:
        return generic_file()
    known = model_files()
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.exists():
        check_readable(path)
        return path
    near = difflib.get_close_matches(str(name_or_path), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise FileNotFoundError(
        f"model '{name_or_path}': no such file, and no model of that name (known: "
        f"{', '.join(known) or 'none'}){hint}; add one with `hrnfit models add KIND PATH`"
    )
