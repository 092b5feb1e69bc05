"""What the command line shows: a bar per stage, the summary of a fit, a table of cameras."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from hrnfit.camera import Camera
    from hrnfit.fit.fit import Progress as FitProgress
    from hrnfit.fit.result import FitResult


def console() -> Console:
    """Standard output, never wrapped at 80 columns when it is a file."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=160)


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Callable[[FitProgress], None] | None]:
    """A callback for `fit` that draws one bar per stage, or None when quiet."""
    if quiet:
        yield None
        return
    columns = (
        TextColumn("{task.fields[place]:>5} {task.description:<24}"),
        BarColumn(),
        TextColumn("{task.completed:>5.0f}/{task.total:.0f}  energy {task.fields[energy]:<9.4g}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console()) as display:
        tasks: dict[int, TaskID] = {}

        def show(event: FitProgress) -> None:
            if event.index not in tasks:
                for earlier in tasks.values():  # it may have converged before its last step
                    done = display.tasks[earlier].completed
                    display.update(earlier, total=max(done, 1))
                    display.stop_task(earlier)
                tasks[event.index] = display.add_task(
                    event.stage,
                    total=max(event.steps, 1),
                    place=f"{event.index + 1}/{event.count}",
                    energy=event.energy,
                )
            display.update(
                tasks[event.index],
                completed=event.step,
                total=max(event.steps, 1),
                energy=event.energy,
            )

        yield show


def summarise(result: FitResult, out: Path) -> None:
    """How the fit went and where its files are."""
    from hrnfit.fit.licensing import licence_line

    view = console()
    stages = Table("stage", "level", "steps", "seconds", "energy", "outcome", box=None)
    for stage in result.stages:
        trace = f"{stage.energies[0]:.4g} -> {stage.energies[-1]:.4g}" if stage.energies else ""
        outcome = stage.outcome.name.lower().replace("_", " ")
        stages.add_row(
            stage.name, stage.level, str(stage.steps), f"{stage.seconds:.1f}", trace, outcome
        )
    view.print(stages)
    for warning in result.warnings:
        view.print(f"warning: {warning}", style="yellow", markup=False)
    if line := licence_line(result.provenance):
        view.print(line, markup=False)
    view.print(
        f"{len(result.view_names)} view(s) in {result.seconds:.0f} s; open {out / 'report.html'}",
        markup=False,
    )


def show_cameras(cameras: Sequence[Camera]) -> None:
    """One row per camera: size, lens and where it stands."""
    table = Table(box=None)
    for title in ("name", "size", "focal px", "field of view", "principal point off centre px"):
        table.add_column(title)
    for title in ("distortion", "position mm"):
        table.add_column(title)
    for camera in cameras:
        K = camera.K.double()
        fx, fy = float(K[0, 0]), float(K[1, 1])
        off = (float(K[0, 2]) - camera.width / 2, float(K[1, 2]) - camera.height / 2)
        angle = math.degrees(2 * math.atan(camera.width / (2 * fx)))
        table.add_row(
            camera.name,
            f"{camera.width}x{camera.height}",
            f"{fx:.1f}, {fy:.1f}",
            f"{angle:.1f} deg",
            f"{off[0]:+.1f}, {off[1]:+.1f}",
            " ".join(f"{float(k):g}" for k in camera.distortion) or "none",
            ", ".join(f"{float(x):.0f}" for x in camera.centre),
        )
    view = console()
    view.print(table)
    view.print(f"{len(cameras)} camera(s), each well formed", markup=False)
