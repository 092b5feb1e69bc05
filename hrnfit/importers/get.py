"""Models that `hrnfit models get NAME` downloads and converts: one row each.

Only models whose licence lets anyone have them without asking. The files are pinned: a commit, and size
and SHA-256 of each one in `manifests/`, made from a checkout of that commit.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hrnfit.data_folder import user_folder
from hrnfit.importers.download import Patience, Progress, RemoteFile, checked_base, download
from hrnfit.importers.download_lock import locked
from hrnfit.importers.kinds import ImportOptions, add_model, free_place
from hrnfit.model import ict
from hrnfit.model.stored import StoredModel
from hrnfit.tree import write_bytes

MANIFESTS = Path(__file__).parent / "manifests"

BASE_VARIABLE = "HRNFIT_DOWNLOAD_{name}"
"""Environment variable with the base address of a mirror, by the model's name in capitals."""


@dataclass(frozen=True)
class Source:
    """Where a model is to be had."""

    kind: str
    """How it is imported: a name of `kinds.KINDS`."""
    manifest: str
    """File in `manifests/`."""
    import_from: str
    """What of the downloaded folder the importer is given."""
    licence: str
    """Its name and holder."""
    terms: str
    """What it permits and asks, in one sentence."""
    licence_file: str
    """Where its text lies among the files."""
    check_options: Callable[[ImportOptions], None]
    """Raises ValueError for options that the importer will refuse, before anything is downloaded."""


def _check_ict(options: ImportOptions) -> None:
    ict.check_part(options.part or "face")


SOURCES: dict[str, Source] = {
    "ict": Source(
        kind="ict",
        manifest="ict.json",
        import_from="FaceXModel",
        licence="MIT License, (c) 2020 USC Institute for Creative Technologies",
        terms="use, change and sale are free, commercial too; the notice stays with every copy; no warranty",
        licence_file="LICENSE",
        check_options=_check_ict,
    ),
}


@dataclass(frozen=True)
class Manifest:
    """The pinned files of a source."""

    repository: str
    commit: str
    base_url: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def source_named(name: str) -> Source:
    """The row of that name, or an error that lists what there is."""
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(
            f"model '{name}': not one that can be downloaded; {hint}possible: {', '.join(SOURCES)}; files "
            "that you have are added with `hrnfit models add KIND PATH`"
        )
    return SOURCES[name]


def read_manifest(source: Source) -> Manifest:
    """The manifest that comes with the package."""
    found = json.loads((MANIFESTS / source.manifest).read_text(encoding="utf-8"))
    return Manifest(
        repository=found["repository"],
        commit=found["commit"],
        base_url=found["base_url"],
        files=tuple(RemoteFile(path, size, sha256) for path, size, sha256 in found["files"]),
    )


def licence_notice(name: str) -> str:
    """What is asked to be accepted, in a few lines."""
    source = source_named(name)
    manifest = read_manifest(source)
    return (
        f"{name}: {source.licence}\n"
        f"{source.terms}\n"
        f"full text: {manifest.base_url}{source.licence_file}\n"
        f"{len(manifest.files)} files, {manifest.size / 1e6:.0f} MB, from {manifest.repository} "
        f"at commit {manifest.commit[:12]}"
    )


def downloads_folder(name: str, manifest: Manifest) -> Path:
    """Where the files of this version are kept while they come."""
    return user_folder() / "downloads" / f"{name}-{manifest.commit[:12]}"


def licence_copy(model_file: Path) -> Path:
    """Where the licence's text stays, beside the model it belongs to."""
    return model_file.with_name(f"{model_file.stem}.LICENCE.txt")


def get_model(
    source_name: str,
    name: str,
    options: ImportOptions | None = None,
    *,
    accept_licence: bool,
    base_url: str | None = None,
    keep_files: bool = False,
    replace_existing: bool = False,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> tuple[StoredModel, Path]:
    """Download a model and keep it under a name, its licence's text beside it; the model and its file.

    `base_url`: of a mirror; else the variable HRNFIT_DOWNLOAD_<SOURCE>, else the repository. `keep_files`:
    leave the downloaded files for another import. Raises ValueError before anything is downloaded for
    a name that is taken, options that cannot be, or a licence that was not accepted, DownloadError while another process downloads the same.
    """
    source = source_named(source_name)
    options = options or ImportOptions()
    source.check_options(options)
    free_place(name, replace_existing=replace_existing)
    manifest = read_manifest(source)
    variable = BASE_VARIABLE.format(name=source_name.upper())
    base = checked_base(base_url or os.environ.get(variable) or manifest.base_url)
    if not accept_licence:
        raise ValueError(
            f"licence of {source_name}: not accepted, so nothing was downloaded; read "
            f"{manifest.base_url}{source.licence_file} and repeat the command with --accept-licence"
        )
    folder = downloads_folder(source_name, manifest)
    with locked(folder):
        download(manifest.files, base, folder, progress, patience)
        model, target = add_model(
            source.kind,
            folder / source.import_from,
            name,
            options,
            replace_existing=replace_existing,
        )
        write_bytes(licence_copy(target), (folder / source.licence_file).read_bytes())
        if not keep_files:
            shutil.rmtree(folder)
    return model, target
