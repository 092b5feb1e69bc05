"""Whole fits of the rig at 512 px on one device: seconds by part, memory, accuracy, and the meshes to compare.

A process of its own per device: its first fit is cold (CUDA starts, kernels compile, constants and recordings of the
model are made), the later ones are warm. Images are arrays, so nothing is read or written inside what is timed;
`export` is measured apart.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import hrnfit
from benchmarks import data
from benchmarks.gpu_cases import Photographs, arguments
from benchmarks.measure import mesh_of
from benchmarks.stopwatch import REST, Stopwatch
from hrnfit import FitResult
from hrnfit.fit.result import LEVELS
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.landmarks import LandmarkDetector
from hrnfit.observe.observation import Landmarks

PARTS = {
    "load": ["hrnfit.fit.fit:load_views"],
    "init": ["hrnfit.fit.fit:prepare", "hrnfit.fit.fit:begun_with_networks"],
    "appearance": ["hrnfit.fit.record:fit_appearance"],
    "fuse": ["hrnfit.fit.record:assemble"],
}
"""Functions of the library whose time makes each part; `detect` is taken at the detector, and the stages'
time goes to their levels."""


@dataclass(frozen=True)
class Timed:
    """A detector whose time is taken."""

    inner: LandmarkDetector
    watch: Stopwatch

    def detect(self, image: Tensor) -> Landmarks | None:
        """As the inner detector."""
        with self.watch.step("detect"):
            return self.inner.detect(image)


def wait(device: str) -> None:
    """Until the GPU has done all that was asked of it."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def one_fit(
    case: Photographs, model: FaceModel, recipe: str, device: str, detector: LandmarkDetector
) -> tuple[FitResult, dict[str, float]]:
    """A fit, and its seconds by part; `total` is their sum."""
    wait(device)
    began = time.perf_counter()
    watch = Stopwatch(began)
    with watch.watching(PARTS):
        result = hrnfit.fit(
            **arguments(case),
            model=model,
            recipe=recipe,
            device=device,
            detector=Timed(detector, watch),
        )
    wait(device)
    watch.lap()
    total = time.perf_counter() - began
    seconds = {"total": total} | watch.seconds
    for stage in result.stages[1:]:
        seconds[stage.level] = seconds.get(stage.level, 0.0) + stage.seconds
        seconds[REST] -= stage.seconds
    return result, seconds


def fits(
    case: Photographs,
    model: FaceModel,
    recipe: str,
    device: str,
    detector: LandmarkDetector,
    runs: int,
) -> tuple[FitResult, dict[str, Any]]:
    """One fit and then `runs` warm ones: the last result, and what they took as JSON values."""
    result, cold = one_fit(case, model, recipe, device, detector)
    warm = []
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(runs):
        result, seconds = one_fit(case, model, recipe, device, detector)
        warm.append(seconds)
    entry: dict[str, Any] = {
        "case": case.name,
        "recipe": recipe,
        "device": device,
        "first": rounded(cold),
        "warm": rounded(middle(warm)) if warm else {},
        "warm_totals": [round(seconds["total"], 3) for seconds in warm],
        "export": round(saving(result), 3),
        "stages": {s.name: [s.steps, round(s.seconds, 4)] for s in result.stages},
        "accuracy": accuracy(result),
        "warnings": list(result.warnings),
    }
    if device != "cpu":
        entry["peak_mib"] = torch.cuda.max_memory_allocated(device) >> 20
    return result, entry


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """Median of each part."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    return {name: statistics.median(run.get(name, 0.0) for run in runs) for name in names}


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in seconds.items()}


def saving(result: FitResult) -> float:
    """Seconds to write the whole result."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result.save(Path(folder) / "result")
        return time.perf_counter() - began


def accuracy(result: FitResult) -> dict[str, dict[str, float]]:
    """Scan-to-mesh distance, mm, by level, beside the mean face laid on rigidly; one view knows no scale."""
    protocol, truth = data.protocol(), data.rig_truth()
    mode = "none" if len(result.view_names) > 1 else "sim"
    mean = protocol.ict_mean_face(data.data_folder() / "ict" / "ict_facehead_f16.npz")
    out = {
        "mean face": _scores(protocol.evaluate(mean, truth, "rigid" if mode == "none" else mode))
    }
    for level in LEVELS:
        out[level] = _scores(protocol.evaluate(mesh_of(result.mesh(level)), truth, mode))
    return out


def _scores(scores: Any) -> dict[str, float]:
    return {"median": round(scores.median, 4), "p95": round(scores.p95, 4)}


def meshes(result: FitResult) -> dict[str, Tensor]:
    """Vertices by level, mm."""
    return {level: result.mesh(level).vertices for level in LEVELS}


def apart(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Distance between vertices of two results by level, mm: what a device changes."""
    out = {}
    for level, vertices in ours.items():
        distance = (vertices.double() - theirs[level].double()).norm(dim=-1)
        out[level] = {
            "median": round(float(distance.median()), 5),
            "p95": round(float(distance.quantile(0.95)), 5),
            "largest": round(float(distance.max()), 4),
        }
    return out
