"""Seconds and accuracy of the rig's fits on CUDA beside the CPU: `python -m benchmarks.gpu`.

Needs an NVIDIA GPU and nvdiffrast. Every device fits in a process of its own: its first fit is cold (CUDA
starts, kernels load or compile), the later ones are warm. `factorisation` is the part that every device spends
in solving for the steps (dense on CUDA where it fits, else sparse on the CPU), `assembly` in building their
matrices on the CPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import hrnfit
from benchmarks import data, results
from benchmarks.cases import Case, rig
from benchmarks.machine import machine
from benchmarks.measure import mesh_of
from hrnfit.fit import map_stage
from hrnfit.solve.grid import MapGrid

VIEWS = ("246", "12467", "012345678")
LEVELS = ("coarse", "mid", "fine")


class Clock:
    """Seconds spent inside chosen functions, taken by wrapping them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, owner: Any, name: str, under: str) -> None:
        """Count every later call of `owner.name` under a name."""
        inner = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            wait()  # what a GPU still owes to earlier work is not this function's
            began = time.perf_counter()
            out = inner(*given, **named)
            self.seconds[under] = self.seconds.get(under, 0.0) + time.perf_counter() - began
            return out

        setattr(owner, name, timed)


def wait() -> None:
    """Until the GPU has done all that was asked of it."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def accuracy(case: Case, result: hrnfit.FitResult) -> dict[str, dict[str, float]]:
    """Scan-to-mesh distance as the rig's world has it, mm, by level."""
    out = {}
    for level in LEVELS:
        scores = data.protocol().evaluate(mesh_of(result.mesh(level)), case.truth, "none", "now")
        out[level] = {"median": round(scores.median, 4), "p95": round(scores.p95, 4)}
    return out


def measure(cameras: str, device: str, landmarks: Path | None) -> dict[str, Any]:
    """One fit: seconds in all, by stage, in the solver, and what came out."""
    case, model, clock = rig(cameras), data.model_of("ict"), Clock()
    solve, hessian, gradient = map_stage.solve_arrow_on, MapGrid.hessian, MapGrid.gradient
    clock.wrap(map_stage, "solve_arrow_on", "factorisation")
    clock.wrap(MapGrid, "hessian", "assembly")
    clock.wrap(MapGrid, "gradient", "assembly")
    began = time.perf_counter()
    try:
        result = hrnfit.fit(
            case.images,
            case.cameras,
            model=model,
            masks=case.masks,
            landmarks=marks(landmarks, cameras),
            device=device,
        )
    finally:
        map_stage.solve_arrow_on, MapGrid.hessian, MapGrid.gradient = solve, hessian, gradient
    wait()
    seconds = time.perf_counter() - began
    stages = {s.name: [s.steps, round(s.seconds, 2)] for s in result.stages}
    staged = sum(s.seconds for s in result.stages)
    return {
        "seconds": round(seconds, 2),
        **{name: round(value, 2) for name, value in clock.seconds.items()},
        "outside_stages": round(seconds - staged, 2),
        "stages": stages,
        "accuracy": accuracy(case, result),
        "warnings": list(result.warnings),
    }


def marks(path: Path | None, cameras: str) -> dict[str, Any] | None:
    """Landmarks detected elsewhere, by view."""
    if path is None:
        return None
    given = json.loads(path.read_text(encoding="utf-8"))
    return {f"cam_{i}": given[f"cam_{i}"] for i in cameras if given.get(f"cam_{i}")}


def run_device(device: str, views: list[str], runs: int, landmarks: Path | None) -> None:
    """All fits of one device, a line of JSON each."""
    for k, cameras in enumerate(views):
        for run in range(runs):
            entry = measure(cameras, device, landmarks)
            entry = {"views": len(cameras), "device": device, "cold": k == 0 and run == 0, **entry}
            if device == "cuda":
                entry["peak_gpu_mib"] = torch.cuda.max_memory_allocated() >> 20
            print("entry " + json.dumps(entry), flush=True)


def earlier(devices: list[str]) -> list[dict[str, Any]]:
    """Entries on disk of the devices that are not measured now."""
    path = results.RESULTS / "gpu.json"
    if not path.is_file():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))["entries"]
    return [entry for entry in kept if entry["device"] not in devices]


def main() -> None:
    """Every device in a process of its own; results after each fit, so that a broken run leaves what it had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", nargs="+", default=list(VIEWS), help="cameras by their digits")
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--landmarks", type=Path, help="JSON where no detector is installed")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        run_device(given.inside, given.views, given.runs, given.landmarks)
        return
    entries = earlier(given.devices)
    for device in given.devices:
        again = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--inside", device]
        with subprocess.Popen(again, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout or ():
                if not line.startswith("entry "):
                    continue
                print(line[6:], end="", flush=True)
                entries.append(json.loads(line[6:]))
                versions = {"torch": torch.__version__}
                document = {"machine": machine() | versions, "entries": entries}
                results.put("gpu.json", results.compact(document) + "\n")


if __name__ == "__main__":
    main()
