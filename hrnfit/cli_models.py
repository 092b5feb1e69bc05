"""`hrnfit models list | info | kinds | add | get | check | landmarks`: which face models there are, and adding another."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from hrnfit.importers.checks.finding import Finding, Verdict
from hrnfit.importers.checks.model import check_model, worst
from hrnfit.importers.get import get_model, licence_notice
from hrnfit.importers.kinds import KINDS, ImportOptions, add_model
from hrnfit.io.image import png_bytes
from hrnfit.model import store
from hrnfit.model.face_model import FaceModel, neutral
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.load import load_model, save_model
from hrnfit.model.stored import with_landmarks
from hrnfit.model.terms import model_part
from hrnfit.tree import write_bytes

logger = logging.getLogger(__name__)


def list_models() -> None:
    """List the models known by name."""
    table = Table()
    for column in ("name", "identity", "expression", "albedo", "vertices", "commercial", "file"):
        table.add_column(column, overflow="fold")
    for name, path in store.model_files().items():
        try:
            model = load_model(path)
        except (ValueError, OSError) as error:
            table.add_row(name, "", "", "", "", "", f"broken: {error}")
            continue
        counts = (model.n_identity, model.n_expression, model.n_albedo, len(neutral(model)))
        allowed = model_part(model.info).commercial
        table.add_row(name, *(str(count) for count in counts), allowed, str(path))
    console = Console()
    console.print(table)
    console.print(f"Your own models lie in {store.models_folder()}")


def info(model: tyro.conf.Positional[str]) -> None:
    """Show one model: licence, sizes, regions, landmark sets.

    Args:
        model: Name of a model, or its file.
    """
    loaded = load_model(model)
    table = Table(show_header=False)
    for key, value in _facts(loaded).items():
        table.add_row(key, value)
    Console().print(table)


def kinds() -> None:
    """List the file formats that `hrnfit models add` knows."""
    table = Table("kind", "PATH is", "options")
    for name, kind in KINDS.items():
        table.add_row(name, kind.expects, " ".join(f"--{option}" for option in kind.takes))
    Console().print(table)


def add(
    kind: tyro.conf.Positional[str],
    path: tyro.conf.Positional[Path],
    name: str | None = None,
    part: str | None = None,
    extras: Path | None = None,
    modes: int | None = None,
    licence: str | None = None,
    replace_existing: bool = False,
) -> None:
    """Convert a model file once and keep it under a name.

    Args:
        kind: Its format; `hrnfit models kinds` lists them.
        path: The file or folder.
        name: Name to use it by, as in `--model NAME`; the kind without.
        part: Part of the mesh, where the kind has several: for ict face, head, either with +eyes and +teeth, or full.
        extras: Folder of companion files, where they do not lie beside the file.
        modes: Keep the first so many modes of identity, expression and albedo each (bfm17, bfm19, faceverse, hifi3d, hifi3dpp).
        licence: The licence you accepted, where the file does not tell: for flame cc-by-4.0.
        replace_existing: Overwrite a model of that name.
    """
    name = name or (path.stem if kind == "npz" else kind)
    options = ImportOptions(part=part, extras=extras, modes=modes, licence=licence)
    model, target = add_model(kind, path, name, options, replace_existing=replace_existing)
    console = Console()
    console.print(f"added '{name}': {target}")
    terms = model_part(model.info)
    console.print(f"licence: {terms.licence}. {terms.note}".strip())
    if "mediapipe478" not in model.landmarks:
        console.print(
            f"next: hrnfit models landmarks {name}   (dense landmarks, one to three minutes)"
        )


def get(
    source: tyro.conf.Positional[str],
    name: str | None = None,
    part: str | None = None,
    accept_licence: bool = False,
    base_url: str | None = None,
    keep_files: bool = False,
    replace_existing: bool = False,
) -> None:
    """Download a model from its public repository, checksums verified, and keep it under a name.

    Args:
        source: Which: ict.
        name: Name to use it by, as in `--model NAME`; that of the source without.
        part: Part of the mesh: for ict face, head, either with +eyes and +teeth, or full.
        accept_licence: You have read the licence and accept it; without, it is shown and nothing is downloaded.
        base_url: Address of a mirror with the same files.
        keep_files: Leave the downloaded files for another import.
        replace_existing: Overwrite a model of that name.
    """
    console = Console()
    console.print(licence_notice(source), highlight=False, soft_wrap=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("downloading", total=None, visible=accept_licence)
        model, target = get_model(
            source,
            name or source,
            ImportOptions(part=part),
            accept_licence=accept_licence,
            base_url=base_url,
            keep_files=keep_files,
            replace_existing=replace_existing,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(f"added '{name or source}': {target}")
    if "mediapipe478" not in model.landmarks:
        console.print(
            f"next: hrnfit models landmarks {name or source}   (dense landmarks, one to three minutes)"
        )


def check(model: tyro.conf.Positional[str], picture: Path | None = None) -> None:
    """Check a model: bases, mesh, chart, albedo, landmarks; a table, and a picture. Exit code 1 if anything fails.

    Args:
        model: Name of a model, or its file.
        picture: PNG file to write; NAME_check.png beside the file, or here for a model given by name.
    """
    from hrnfit.fit.model_sheet import model_sheet
    from hrnfit.render.cpu import CpuRasterizer

    path = store.resolve(model)
    try:
        loaded = load_model(model)
    except ModelFormatError as error:
        show_findings((Finding("file", Verdict.FAIL, "not readable", str(error)),))
        raise SystemExit(1) from error
    findings = check_model(loaded)
    show_findings(findings)
    console = Console()
    if findings[0].verdict is not Verdict.FAIL:  # numbers that are none cannot be drawn
        folder = Path() if model in store.model_files() else path.parent
        target = picture or folder / f"{path.stem}_check.png"
        codes = model_sheet(loaded, CpuRasterizer(), f"{loaded.info.name}: {_counted(findings)}")
        write_bytes(target, png_bytes(codes))
        console.print(f"picture: {target}", soft_wrap=True)
    console.print(f"{loaded.info.name}: {_counted(findings)}")
    if worst(findings) is Verdict.FAIL:
        raise SystemExit(1)


def show_findings(findings: Sequence[Finding]) -> None:
    """A table of findings."""
    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
    table = Table("checked", "", "measured", "what to do")
    for finding in findings:
        verdict = f"[{colours[finding.verdict]}]{finding.verdict.value}[/]"
        table.add_row(finding.name, verdict, escape(finding.measured), escape(finding.advice))
    Console().print(table)


def _counted(findings: Sequence[Finding]) -> str:
    counts = [(v, sum(f.verdict is v for f in findings)) for v in (Verdict.FAIL, Verdict.WARN)]
    found = ", ".join(f"{count} {verdict.value}" for verdict, count in counts if count)
    return found or "all ok"


def landmarks(model: tyro.conf.Positional[str], samples: int = 4) -> None:
    """Measure where the detector sees its 478 points on a model, and write them into its file.

    Args:
        model: Name of a model, or its npz file.
        samples: Sampled identities beside the mean.
    """
    from hrnfit.fit.dense_landmarks import DenseSettings, measure_landmarks
    from hrnfit.observe.landmarks import MediaPipeDetector
    from hrnfit.render.cpu import CpuRasterizer

    path = store.resolve(model)
    if str(model) == store.GENERIC or not _is_own_format(path):
        raise ValueError(
            f"'{model}' is not a model file of yours; first `hrnfit models add KIND {path} --name NAME`, "
            "then `hrnfit models landmarks NAME`"
        )
    loaded = load_model(path)
    with Progress(transient=True) as bar:
        task = bar.add_task("looking at the model", total=None)
        marks = measure_landmarks(
            loaded,
            MediaPipeDetector().detect,
            CpuRasterizer(),
            DenseSettings(samples=samples),
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    save_model(with_landmarks(loaded, "mediapipe478", marks), path)
    present = marks.triangles >= 0
    spread = float(marks.spread[present].median())
    Console().print(
        f"{int(present.sum())} of {len(present)} points, median spread {spread:.2f} mm: {path}"
    )


def main(arguments: Sequence[str]) -> None:
    """Run one of the commands."""
    commands = {
        "list": list_models,
        "info": info,
        "kinds": kinds,
        "add": add,
        "get": get,
        "check": check,
        "landmarks": landmarks,
    }
    given = [argument for argument in arguments if argument != "--debug"]
    tyro.extras.subcommand_cli_from_dict(commands, prog="hrnfit models", args=given)


def _is_own_format(path: Path) -> bool:
    """Whether the file is a model npz that landmarks can be written into."""
    import numpy as np

    if path.is_dir():
        return False
    load_model(path)
    with np.load(path, allow_pickle=False) as file:
        return "format" in file


def _facts(model: FaceModel) -> dict[str, str]:
    """What to show of a model."""
    terms = model_part(model.info)
    expression = "blendshapes" if model.expression_is_blendshape else "modes"
    marks = [
        f"{scheme} ({int((found.triangles >= 0).sum())} of {len(found.triangles)}, "
        f"spread {float(found.spread.median()):.2f} mm)"
        for scheme, found in model.landmarks.items()
    ]
    return {
        "name": model.info.name,
        "licence": model.info.licence,
        "commercial use": terms.commercial,
        "terms": terms.note or "see the licence",
        "say beside a product": terms.attribution or "nothing",
        "source": model.info.source,
        "imported from": ", ".join(name for name, _ in model.info.files[:4]) or model.info.kind,
        "mesh": f"{len(neutral(model))} vertices, {len(model.faces)} triangles",
        "identity": f"{model.n_identity} modes",
        "expression": f"{model.n_expression} {expression}: {', '.join(model.expression_names)}",
        "albedo": f"{model.n_albedo} modes, {len(model.albedo(model.uv.new_zeros(model.n_albedo)))} px",
        "regions": ", ".join(model.regions) or "none",
        "landmarks": "; ".join(marks) or "none",
        "mirror pairs": "yes" if model.mirror is not None else "no",
    }
