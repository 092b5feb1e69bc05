"""The table of importers: what `hrnfit models add KIND PATH` knows, and the one way in.

An importer is a function of a path and options that returns a model in mm; provenance, checks and
the file in the user's folder are added here, the same for all.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from hrnfit.model import ict, store
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.load import load_model, model_arrays, save_model, with_shipped_landmarks
from hrnfit.model.validate import check_model_arrays


@dataclass(frozen=True)
class ImportOptions:
    """What may be said beside the path."""

    part: str | None = None
    """Part of the mesh to take; which there are depends on the kind."""
    extras: Path | None = None
    """Folder of companion files; the folder of the file itself without."""


@dataclass(frozen=True)
class Imported:
    """A model and the files that were read for it."""

    model: LinearFaceModel
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Kind:
    """One format."""

    expects: str
    """What PATH is, in one line."""
    read: Callable[[Path, ImportOptions], Imported]


def _own(path: Path, _options: ImportOptions) -> Imported:
    return Imported(load_model(path), (path,))


def _ict(path: Path, options: ImportOptions) -> Imported:
    part = options.part or "face"
    ict.check_part(part)
    if path.is_dir():
        return Imported(ict.import_folder(path, part), tuple(sorted(path.glob("*.obj"))))
    return Imported(ict.import_compact(path, part), (path,))


KINDS: dict[str, Kind] = {
    "npz": Kind("a model in our own format (docs/models.md)", _own),
    "ict": Kind("ICT-FaceKit: its folder FaceXModel, or a compact npz of it", _ict),
}


def import_model(
    kind: str, path: Path, name: str, options: ImportOptions | None = None
) -> LinearFaceModel:
    """The model of a file, checked, with its provenance; nothing is written.

    Raises ValueError for an unknown kind, FileNotFoundError, and ModelFormatError that names the
    key, shape or count that is off.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"kind '{kind}': not known; {hint}possible: {', '.join(KINDS)}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; check the path")
    found = _read(KINDS[kind], path, options or ImportOptions())
    info = replace(found.model.info, name=name, kind=kind, files=checksums(found.files))
    model = with_shipped_landmarks(replace(found.model, info=info))
    check_model_arrays(model_arrays(model), str(path))
    return model


def _read(kind: Kind, path: Path, options: ImportOptions) -> Imported:
    """The importer's answer; whatever else it meets in a damaged file is a damaged file too."""
    try:
        return kind.read(path, options)
    except ModelFormatError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ModelFormatError(f"{path}: {text}") from error


def add_model(
    kind: str,
    path: Path,
    name: str,
    options: ImportOptions | None = None,
    *,
    replace_existing: bool = False,
) -> tuple[LinearFaceModel, Path]:
    """Import a model and keep it in the user's folder under a name; the model and its file."""
    target = free_place(name, replace_existing=replace_existing)
    model = import_model(kind, path, name, options)
    save_model(model, target)
    return model, target


def free_place(name: str, *, replace_existing: bool) -> Path:
    """Where a model of that name will lie; ValueError when there is one that is not to be replaced."""
    store.check_name(name)
    target = store.models_folder() / f"{name}.npz"
    if target.exists() and not replace_existing:
        raise ValueError(
            f"there is a model '{name}' already ({target}); choose another name with --name or "
            "pass --replace-existing"
        )
    return target


def checksums(files: Iterable[Path]) -> tuple[tuple[str, str], ...]:
    """Name and SHA-256 of each file."""
    return tuple((path.name, _sha256(path)) for path in files)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
