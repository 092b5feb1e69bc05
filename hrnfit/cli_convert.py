"""`hrnfit convert`: a fit carried over to another face model, or to a template of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.progress import Progress
from rich.table import Table

from hrnfit.cli_folder import check_folder
from hrnfit.cli_progress import console
from hrnfit.fit.licensing import licence_line

if TYPE_CHECKING:
    from hrnfit.transfer.conversion import Conversion

Level = Literal["coarse", "mid", "fine"]


@dataclass(frozen=True)
class Convert:
    """Carry the geometry of a fit over to another face model or to a template mesh, and say how far off it
    is."""

    result: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RESULT")]]
    """Folder that `hrnfit fit` or an earlier `hrnfit convert` to a model wrote."""
    to: Annotated[str, tyro.conf.arg(metavar="MODEL")]
    """Face model: a name that `hrnfit models list` shows, or a file; or a template mesh: .obj, .ply, .glb."""
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: RESULT_MODEL)")
    ] = None
    """Folder of the converted meshes."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """The template's 68 iBUG points, as vertex numbers from 0 or as positions: .json, .txt or .npy."""
    level: tuple[Level, ...] = ("coarse", "mid", "fine")
    """Levels to carry over."""
    commercial: bool = False
    """Refuse when the fit or the model does not permit commercial use."""
    quiet: bool = False
    """Show no progress and no table; warnings still go to standard error."""
    debug: bool = False
    """Show the library's messages, and the whole traceback of an error."""

    def run(self) -> None:
        from hrnfit.transfer.convert import convert
        from hrnfit.transfer.save import check_no_fit

        out = self.out or default_folder(self.result, self.to)
        if out.resolve() == self.result.resolve():
            raise ValueError(
                f"--out {out}: this is the folder of the fit itself; choose another folder"
            )
        check_no_fit(out)
        check_folder(out)
        with _bar(quiet=self.quiet) as progress:
            converted = convert(
                self.result,
                self.to,
                landmarks=self.landmarks,
                levels=self.level,
                commercial=self.commercial,
                progress=progress,
            )
        converted.save(out)
        if not self.quiet:
            summarise(converted, out)
            return
        for warning in converted.warnings:
            print(f"hrnfit: warning: {warning}", file=sys.stderr)


def default_folder(result: Path, to: str) -> Path:
    """`RESULT_MODEL` beside the result."""
    folder = result.parent if result.is_file() else result
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}_{Path(to).stem}")


def summarise(converted: Conversion, out: Path) -> None:
    """Errors per level, what has no counterpart, and where the files are."""
    table = Table("surface", "level", box=None)
    for way in ("converted to fit", "fit to converted"):
        for measure in ("median", "95 %", "max"):
            table.add_column(f"{way}: {measure} mm" if measure == "median" else measure)
    named = {"meshes": converted.errors, "state of the model": converted.result_errors}
    for name, errors in named.items():
        for level, error in errors.items():
            ways = (error.target_to_source, error.source_to_target)
            cells = [f"{x:.3f}" for way in ways for x in (way.median, way.p95, way.max)]
            table.add_row(name, level, *cells)
    view = console()
    view.print(table)
    common = converted.common
    view.print(
        f"{100 * common.uncovered:.1f} % of the surface of '{converted.target.face.name}' "
        f"({100 * common.uncovered_vertices:.1f} % of its vertices) has no counterpart on the fit and is "
        "filled in smoothly; errors are on the rest",
        markup=False,
    )
    for warning in converted.warnings:
        view.print(f"warning: {warning}", style="yellow", markup=False)
    written = ["meshes", "conversion.json", "licences.txt"]
    written += ["maps"] if converted.albedo is not None else []
    written += ["state.npz", "result.json"] if converted.result is not None else []
    view.print(licence_line(converted.provenance), markup=False)
    view.print(f"{converted.seconds:.0f} s; {out}: {', '.join(written)}", markup=False)


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[str, float], None] | None]:
    """A callback for `convert` that draws one bar, or None when quiet."""
    if quiet:
        yield None
        return
    with Progress(console=console(), transient=True) as display:
        task = display.add_task("convert", total=1.0)
        yield lambda part, done: display.update(task, description=part, completed=done)
