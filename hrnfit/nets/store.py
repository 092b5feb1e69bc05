"""Where networks live: the folder `nets` of the user's data, or a path that the user names."""

from __future__ import annotations

import difflib
from pathlib import Path

from hrnfit.data_folder import check_plain_name, user_folder

SUFFIX = ".safetensors"


def networks_folder() -> Path:
    """Where `hrnfit nets add` writes."""
    return user_folder() / "nets"


def network_files() -> dict[str, Path]:
    """Every network known by name, sorted."""
    found = sorted(networks_folder().glob(f"*{SUFFIX}"))
    # half-written ones begin with a dot
    return {path.stem: path for path in found if path.is_file() and not path.name.startswith(".")}


def free_place(name: str, *, replace_existing: bool) -> Path:
    """Where a network of that name will lie; ValueError when there is one that is not to be replaced."""
    check_plain_name("network", name)
    target = networks_folder() / f"{name}{SUFFIX}"
    if target.exists() and not replace_existing:
        raise ValueError(
            f"there is a network '{name}' already ({target}); choose another name with --name or pass "
            "--replace-existing"
        )
    return target


def resolve(name_or_path: str | Path) -> Path:
    """The file of a network given by name or path; FileNotFoundError when there is none."""
    known = network_files()
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    near = difflib.get_close_matches(str(name_or_path), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise FileNotFoundError(
        f"network '{name_or_path}': no such file, and no network of that name (known: "
        f"{', '.join(known) or 'none'}){hint}; add one with `hrnfit nets add KIND PATH`"
    )


def remove_network(name: str) -> Path:
    """Delete a network of the user's folder by its name; returns where it was. A path is not taken."""
    known = network_files()
    if name not in known:
        raise FileNotFoundError(
            f"network '{name}': none of that name in {networks_folder()} (known: "
            f"{', '.join(known) or 'none'})"
        )
    known[name].unlink()
    return known[name]
