"""Seconds, memory and agreement of the fit on a GPU: `python -m benchmarks.gpu [--parts cuda,cpu,render,...]`.

One command for a machine with an NVIDIA GPU. Every part runs in a process of its own, so that its first fit is
cold, and adds what it found to `results/gpu.json` as soon as it is done; `results/gpu.md` is its table. nvdiffrast is
compared where it is installed. `--prepared FILE` (of `python -m benchmarks.prepared`) stands in for a landmark
detector. Where the GPU's machine cannot fit on its CPU (no numba), run `--parts cpu --meshes FOLDER` elsewhere and take
the folder there: agreement is that of the meshes in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_cases, gpu_fit, gpu_summary, results
from benchmarks.data import model_of
from benchmarks.machine import command, machine, revision

ABOUT = "seconds unless said otherwise; distances in mm; warm: median of the fits after the first"
PARTS = ("cuda", "cpu", "render", "iterations", "batch", "memory")
RUNS = 7
CASES = {"rig, five views": ("rig", gpu_cases.RIG), "single view": ("single_view", "4")}
"""Recipe and cameras."""
BATCHES = (1, 4, 16, 64)
MEMORY_SIZES = (512, 1024)


def fits(device: str, given: argparse.Namespace) -> dict[str, Any]:
    """Both cases on one device; the meshes stay in the folder for the other device."""
    detector, model = gpu_cases.detector(given.prepared, [512]), model_of("ict")
    out, meshes = {}, {}
    for name, (recipe, cameras) in CASES.items():
        case = gpu_cases.rig(512, cameras)
        runs = given.runs if device != "cpu" else 0
        result, out[name] = gpu_fit.fits(case, model, recipe, device, detector, runs)
        meshes[name] = gpu_fit.meshes(result)
    torch.save(meshes, Path(given.meshes) / f"{device.split(':')[0]}.pt")
    return out


def run_part(part: str, given: argparse.Namespace) -> Any:
    """What one process measures."""
    if part == "cpu":
        return fits("cpu", given)
    if part == "cuda":
        return fits(given.device, given)
    if part == "render":
        from benchmarks import gpu_render  # local: parts import what they measure

        return gpu_render.measure()
    if part == "iterations":
        from benchmarks import gpu_iterations

        detector = gpu_cases.detector(given.prepared, [512])
        return gpu_iterations.measure(given.device, detector)
    from benchmarks import gpu_batch

    detector = gpu_cases.detector(given.prepared, [512])
    if part == "batch":
        return gpu_batch.throughput(BATCHES, given.device, detector)
    return gpu_batch.memory(MEMORY_SIZES, given.device, given.prepared)


def in_child(part: str, given: argparse.Namespace) -> Any:
    """The part in a process of its own; what it prints besides is shown as it comes."""
    again = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--inside", part]
    found: Any = None
    with subprocess.Popen(
        [*again, "--meshes", given.meshes], stdout=subprocess.PIPE, text=True
    ) as child:
        for line in child.stdout or ():
            if line.startswith("found "):
                found = json.loads(line[6:])
            else:
                print(line, end="", flush=True)
    if child.returncode:
        print(f"part {part} ended with exit code {child.returncode}; its figures are missing")
    return found


def agreement(folder: Path) -> dict[str, Any] | None:
    """Vertices on the GPU against those on the CPU, when both were fitted in this run."""
    files = [folder / f"{device}.pt" for device in ("cuda", "cpu")]
    if not all(file.is_file() for file in files):
        return None
    ours, theirs = (torch.load(file, weights_only=True) for file in files)
    return {name: gpu_fit.apart(ours[name], theirs[name]) for name in ours}


def add(part: str, found: Any) -> None:
    """Put a part into the results on disk."""
    about = {"command": command("gpu"), "machine": machine(), "revision": revision()}
    versions = {"torch": torch.__version__}
    entries = results.read("gpu") | {part: about | versions | {"figures": found}}
    results.write("gpu", ABOUT, entries, PARTS)
    results.put("gpu.md", gpu_summary.summary(entries))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--runs", type=int, default=RUNS, help="warm fits of each case")
    parser.add_argument("--prepared", help="file of `python -m benchmarks.prepared`")
    parser.add_argument("--meshes", help="folder that keeps each device's meshes")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Every part that was asked for, one after the other."""
    given = parser().parse_args()
    if given.inside:
        print("found " + json.dumps(run_part(given.inside, given)), flush=True)
        return
    parts = given.parts.split(",")
    if parts != ["cpu"] and not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu needs an NVIDIA GPU, and torch sees none")
    with tempfile.TemporaryDirectory() as folder:
        given.meshes = given.meshes or folder
        Path(given.meshes).mkdir(parents=True, exist_ok=True)
        for part in parts:
            found = in_child(part, given)
            if found is not None:
                print(part, json.dumps(found), flush=True)
                add(part, found)
        together = agreement(Path(given.meshes))
        if together is not None and {"cuda", "cpu"} & set(parts):
            print("agreement", json.dumps(together), flush=True)
            add("agreement", together)


if __name__ == "__main__":
    main()
