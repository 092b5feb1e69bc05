"""`hrnfit demo`: a real photograph, and a rig whose truth is known. Opens nothing, downloads nothing.

The photograph is NASA's portrait of an astronaut, public domain, from inside the scikit-image
package. The rig photographs a synthetic subject, so its error in mm is exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from hrnfit import cli_progress
from hrnfit.fit.fit import Progress, fit
from hrnfit.fit.result import FitResult
from hrnfit.geometry.align import align_similarity
from hrnfit.io.cameras import save_cameras
from hrnfit.io.image import write_png
from hrnfit.model.face_model import FaceModel
from hrnfit.model.load import load_model
from hrnfit.synthetic import SyntheticRig, Truth, synthetic_rig

if TYPE_CHECKING:
    from hrnfit.observe.observation import Landmarks

SEED = 7
"""Of the synthetic subject."""

SIZE = 512
"""Side of its photographs, px."""


@dataclass(frozen=True)
class Error:
    """Distance of a fitted surface from the true one, mm, over the vertices that the rig sees."""

    name: str
    vertex: float
    """Median distance between corresponding vertices."""
    surface: float
    """Median distance along the true normal."""
    surface_95: float
    """95th percentile of the distance along the true normal."""


def run_demo(out: Path, *, quiet: bool = False) -> None:
    """Run both parts, write their results under `out` and say where they are."""
    say = cli_progress.console()
    start = time.perf_counter()
    model = load_model()
    say.print("[bold]1. One photograph[/bold]: scikit-image's portrait of an astronaut")
    portrait(out / "photograph", quiet=quiet)
    say.print("\n[bold]2. Three calibrated views of a synthetic subject[/bold]")
    errors = rig(model, out / "rig", quiet=quiet)
    say_errors(say, errors)
    say.print(f"\nResults, {time.perf_counter() - start:.0f} s:")
    for part in ("photograph", "rig"):
        say.print(f"  {out / part / 'report.html'}", markup=False)


def portrait(out: Path, *, quiet: bool = False) -> FitResult:
    """Fit the public domain photograph; its landmarks are detected when MediaPipe is installed."""
    from skimage import data

    landmarks: Landmarks | Path | None = None
    if find_spec("mediapipe") is None:
        landmarks = Path(__file__).with_name("demo_landmarks.json")
    image = {"astronaut": data.astronaut()}
    return _fit(quiet, lambda show: fit(image, landmarks=landmarks, progress=show), out)


def rig(model: FaceModel, out: Path, *, quiet: bool = False) -> list[Error]:
    """Photograph a synthetic subject, fit the files, and measure against the truth."""
    subject = synthetic_rig(model, seed=SEED, size=SIZE)
    photographs = out.with_name(f"{out.name}_photographs")
    files = write_rig(subject, photographs)
    # Without the detector the true landmarks have to do; they move the result by little, since
    # the photometric stages decide.
    landmarks = None if find_spec("mediapipe") else subject.landmarks
    result = _fit(
        quiet,
        lambda show: fit(
            files, photographs / "cameras.json", model=model, landmarks=landmarks, progress=show
        ),
        out,
    )
    errors = [mean_face_error(model, subject)]
    for level in ("coarse", "mid"):
        vertices = result.mesh(level).vertices
        errors.append(error_of(f"{level} level", vertices, subject.truth, subject.seen))
    return errors


def write_rig(subject: SyntheticRig, folder: Path) -> list[Path]:
    """The photographs and cameras as files, as a studio would deliver them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_cameras(folder / "cameras.json", subject.cameras)
    files = []
    for name, image in subject.images.items():
        files.append(folder / f"{name}.png")
        write_png(files[-1], image)
    return files


def error_of(
    name: str, vertices: Float[Tensor, "N 3"], truth: Truth, seen: Bool[Tensor, "N"]
) -> Error:
    """How far corresponding vertices lie from the truth, as they lie in the rig: no alignment."""
    offset = (vertices.cpu().float() - truth.surface)[seen]
    along = (offset * truth.normals[seen]).sum(-1).abs()
    return Error(
        name=name,
        vertex=float(offset.norm(dim=-1).median()),
        surface=float(along.median()),
        surface_95=float(along.quantile(0.95)),
    )


def mean_face_error(model: FaceModel, subject: SyntheticRig) -> Error:
    """The model's mean, which knows nothing of the subject, placed and scaled onto the truth."""
    mean = model.shape(torch.zeros(model.n_identity), torch.zeros(model.n_expression))
    placed = align_similarity(mean, subject.truth.surface, subject.seen.float()).apply(mean)
    return error_of("mean face, aligned", placed, subject.truth, subject.seen)


def say_errors(say: Console, errors: list[Error]) -> None:
    """The table of errors."""
    table = Table("error, mm", box=None)
    for title in ("per vertex (median)", "surface (median)", "surface (95 %)"):
        table.add_column(title, justify="right")
    for error in errors:
        numbers = (error.vertex, error.surface, error.surface_95)
        table.add_row(error.name, *(f"{number:.2f}" for number in numbers))
    say.print(table)


def _fit(
    quiet: bool,
    run: Callable[[Callable[[Progress], None] | None], FitResult],
    out: Path,
) -> FitResult:
    with cli_progress.bars(quiet=quiet) as show:
        result = run(show)
    result.save(out)
    for warning in result.warnings:
        cli_progress.console().print(f"warning: {warning}", style="yellow", markup=False)
    return result
