"""The table of importers: what `hrnfit models add KIND PATH` knows, and the one way in.

An importer is a function of a path and options that returns a model in mm; provenance, checks and
the file in the user's folder are added here, the same for all.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from hrnfit.importers import bfm09
from hrnfit.importers.bfm_hdf5 import import_bfm
from hrnfit.importers.faceverse import import_faceverse
from hrnfit.importers.flame import import_flame
from hrnfit.importers.hifi3d import import_hifi3d, import_hifi3dpp
from hrnfit.model import ict, store
from hrnfit.model.containers import check_container
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.load import load_model, model_arrays, save_model, with_shipped_landmarks
from hrnfit.model.stored import StoredModel, with_info
from hrnfit.model.validate import check_model_arrays


@dataclass(frozen=True)
class ImportOptions:
    """What may be said beside the path."""

    part: str | None = None
    """Part of the mesh to take; which there are depends on the kind."""
    extras: Path | None = None
    """Folder of companion files; the folder of the file itself without."""
    modes: int | None = None
    """Keep the first so many modes of identity, expression and albedo each; by the kind without."""
    licence: str | None = None
    """The licence that the user accepted, where one file name has been given out under several."""


@dataclass(frozen=True)
class Imported:
    """A model and the files that were read for it."""

    model: StoredModel
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Kind:
    """One format."""

    expects: str
    """What PATH is, in one line."""
    read: Callable[[Path, ImportOptions], Imported]
    takes: tuple[str, ...] = ("part", "extras", "modes")
    """The options that mean something to it."""


def _own(path: Path, _options: ImportOptions) -> Imported:
    return Imported(load_model(path), (path,))


def _ict(path: Path, options: ImportOptions) -> Imported:
    part = options.part or "face"
    ict.check_part(part)
    if path.is_dir():
        return Imported(ict.import_folder(path, part), tuple(sorted(path.glob("*.obj"))))
    return Imported(ict.import_compact(path, part), (path,))


def _bfm09(path: Path, options: ImportOptions) -> Imported:
    return Imported(*bfm09.read(path, options.extras))


def _bfm17(path: Path, options: ImportOptions) -> Imported:
    return Imported(*import_bfm(path, 2017, options.extras, options.modes))


def _bfm19(path: Path, options: ImportOptions) -> Imported:
    return Imported(*import_bfm(path, 2019, options.extras, options.modes))


def _faceverse(path: Path, options: ImportOptions) -> Imported:
    return Imported(*import_faceverse(path, options.extras, options.modes))


def _hifi3d(path: Path, options: ImportOptions) -> Imported:
    return Imported(*import_hifi3d(path, options.part or "face", options.extras, options.modes))


def _hifi3dpp(path: Path, options: ImportOptions) -> Imported:
    return Imported(*import_hifi3dpp(path, options.part or "face", options.modes))


def _flame(path: Path, options: ImportOptions) -> Imported:
    return Imported(*import_flame(path, options.extras, options.licence, _sha256))


DATA = ("extras", "modes")
"""Options of the kinds that have one part."""

KINDS: dict[str, Kind] = {
    "npz": Kind("a model in our own format (docs/models.md)", _own, ()),
    "ict": Kind("ICT-FaceKit: its folder FaceXModel, or a compact npz of it", _ict, ("part",)),
    "bfm09": Kind(
        "Basel model of 2009: BFM_model_front.mat of Deep3D and HRN, or a folder with it or with "
        "01_MorphableModel.mat and its companions",
        _bfm09,
        ("extras",),
    ),
    "bfm17": Kind("Basel Face Model 2017: model2017-1_bfm_nomouth.h5 or _face12_", _bfm17, DATA),
    "bfm19": Kind("Basel Face Model 2019: model2019_bfm.h5, _face12 or _fullHead", _bfm19, DATA),
    "faceverse": Kind("FaceVerse: its .npy, such as faceverse_simple_v2.npy", _faceverse, DATA),
    "hifi3d": Kind("HIFI3D: AI-NExT-Shape.mat, its albedo file beside", _hifi3d),
    "hifi3dpp": Kind("HIFI3D++: hifi3dpp_model_info.mat of FFHQ-UV", _hifi3dpp, ("part", "modes")),
    "flame": Kind(
        "FLAME 2020 or 2023: generic_model.pkl, flame2023.pkl, flame2023_no_jaw.pkl, "
        "flame2023_Open.pkl, or a folder with one of them and companions",
        _flame,
        ("extras", "licence"),
    ),
}


def import_model(
    kind: str, path: Path, name: str, options: ImportOptions | None = None
) -> StoredModel:
    """The model of a file, checked, with its provenance; nothing is written.

    Raises ValueError for an unknown kind, FileNotFoundError, and ModelFormatError that names the
    key, shape or count that is off.
    """
    check_request(kind, path, options or ImportOptions())
    found = _read(KINDS[kind], path, options or ImportOptions())
    info = replace(found.model.info, name=name, kind=kind, files=checksums(found.files))
    model = with_shipped_landmarks(with_info(found.model, info))
    check_model_arrays(model_arrays(model), str(path))
    return model


def _read(kind: Kind, path: Path, options: ImportOptions) -> Imported:
    """The importer's answer; whatever else it meets in a damaged file is a damaged file too."""
    try:
        return kind.read(path, options)
    except ModelFormatError as error:
        if path.name in str(error):
            raise
        raise ModelFormatError(f"{path}: {error}") from error
    except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ModelFormatError(f"{path}: {text}") from error


def check_request(kind: str, path: Path, options: ImportOptions) -> None:
    """The kind is known and takes the options, the path is there and holds such a file."""
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"kind '{kind}': not known; {hint}possible: {', '.join(KINDS)}")
    _check_options(kind, options)
    store.check_readable(path)
    check_container(path, kind)


def _check_options(kind: str, options: ImportOptions) -> None:
    """No option is given that the kind would pass over in silence."""
    takes = KINDS[kind].takes
    for field in fields(options):
        if getattr(options, field.name) is not None and field.name not in takes:
            known = ", ".join(f"--{name}" for name in takes) or "no option"
            raise ValueError(
                f"{field.name}: the kind '{kind}' has no such option; it takes {known}"
            )
    if options.extras is not None and not options.extras.is_dir():
        raise FileNotFoundError(f"{options.extras}: no such folder; --extras expects one")
    if options.modes is not None and options.modes < 1:
        raise ValueError(f"modes: expected 1 or more, got {options.modes}")


def add_model(
    kind: str,
    path: Path,
    name: str,
    options: ImportOptions | None = None,
    *,
    replace_existing: bool = False,
) -> tuple[StoredModel, Path]:
    """Import a model and keep it in the user's folder under a name; the model and its file."""
    check_request(kind, path, options or ImportOptions())
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
