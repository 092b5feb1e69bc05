"""Many subjects in one call, and the memory of a fit against its bound: parts of `benchmarks.gpu`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

import hrnfit
from benchmarks import gpu_cases
from benchmarks.data import model_of
from benchmarks.gpu_cases import Photographs
from hrnfit.fit.memory import MOST_WORKERS, fit_bytes, total_bytes
from hrnfit.fit.recipe import load_recipe
from hrnfit.observe.landmarks import LandmarkDetector
from hrnfit.solve.recorded import forget_recordings

MIB = 2**20
PROCESSES = (4, 6)
"""Numbers of processes on the GPU."""
CAP = 0.6
"""Share of its peak that a fit is given to see that it finishes all the same."""


def captures(cases: Sequence[Photographs]) -> list[hrnfit.Capture]:
    """Subjects of a batch."""
    return [
        hrnfit.Capture(case.images, case.cameras, masks=case.masks, name=f"{i}: {case.name}")
        for i, case in enumerate(cases)
    ]


def throughput(counts: Sequence[int], device: str, detector: LandmarkDetector) -> dict[str, Any]:
    """Subjects per second of batches, warm, in threads and in processes: every worker has recorded before."""
    subjects = captures(gpu_cases.subjects(max(*counts, 2 * MOST_WORKERS + 1, *PROCESSES)))
    return in_threads(subjects, counts, device, detector) | in_processes(
        subjects, counts, device, detector
    )


def in_threads(
    subjects: list[hrnfit.Capture], counts: Sequence[int], device: str, detector: LandmarkDetector
) -> dict[str, Any]:
    """As many threads as `fit_batch` takes."""
    run = partial(
        hrnfit.fit_batch, model=model_of("ict"), device=device, detector=detector, on_error="raise"
    )
    run(subjects[: 2 * MOST_WORKERS + 1])
    out = {}
    for count in counts:
        torch.cuda.reset_peak_memory_stats(device)
        out[f"threads {MOST_WORKERS}: {count}"] = timed(run, subjects[:count]) | {
            "peak_mib": torch.cuda.max_memory_allocated(device) // MIB,
            "reserved_mib": torch.cuda.max_memory_reserved(device) // MIB,
        }
    return out


def in_processes(
    subjects: list[hrnfit.Capture], counts: Sequence[int], device: str, detector: LandmarkDetector
) -> dict[str, Any]:
    """Several numbers of processes; memory is all that is used of the GPU when a batch ends, their contexts
    included. `start` is that of the processes, `first` one subject in each."""
    sent = (
        detector if isinstance(detector, gpu_cases.Detected) else None
    )  # MediaPipe cannot be sent
    out: dict[str, Any] = {}
    for number in PROCESSES:
        forget_recordings()
        torch.cuda.empty_cache()
        began = time.perf_counter()
        with hrnfit.BatchProcesses(number, model=model_of("ict"), device=device) as processes:
            start = time.perf_counter() - began
            run = partial(hrnfit.fit_batch, processes=processes, detector=sent, on_error="raise")
            first = timed(run, subjects[:number])["seconds"]
            for count in (c for c in counts if c > 1):
                out[f"processes {number}: {count}"] = timed(run, subjects[:count]) | {
                    "peak_mib": used(device) // MIB,
                    "start": round(start, 3),
                    "first": first,
                }
    return out


def timed(
    run: Callable[[list[hrnfit.Capture]], list[Any]], subjects: list[hrnfit.Capture]
) -> dict[str, Any]:
    """Seconds of a batch, and subjects per second."""
    began = time.perf_counter()
    run(subjects)
    seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 3), "per_second": round(len(subjects) / seconds, 2)}


def used(device: str) -> int:
    """Bytes of the GPU that are not free, whoever has them."""
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def memory(sizes: Sequence[int], device: str, prepared: str | None) -> dict[str, Any]:
    """Peak of single fits against `fit_bytes`, and a fit that is given less than it needs."""
    torch.cuda.init()  # counters of a device exist only afterwards
    detector = gpu_cases.detector(prepared, sizes)
    out, free = {}, None
    for size in sizes:
        for cameras in (gpu_cases.RIG, "012345678"):
            case = gpu_cases.rig(size, cameras)
            result, peak = _peak(case, device, detector)
            out[case.name] = {"bound_mib": _bound(case, device) // MIB, "peak_mib": peak // MIB}
            free = free or (case, result, peak)
    if free is not None:
        case, result, peak = free
        out[f"{case.name}, capped"] = _capped(case, device, detector, result, peak)
    return out


def _peak(
    case: Photographs, device: str, detector: LandmarkDetector
) -> tuple[hrnfit.FitResult, int]:
    """The result, and the most memory that was allocated, with nothing kept from before."""
    forget_recordings()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    result = hrnfit.fit(
        **gpu_cases.arguments(case), model=model_of("ict"), device=device, detector=detector
    )
    return result, torch.cuda.max_memory_allocated(device)


def _bound(case: Photographs, device: str) -> int:
    sizes = [(image.shape[0], image.shape[1]) for image in case.images.values()]
    return fit_bytes(load_recipe("rig"), model_of("ict"), sizes, total_bytes(torch.device(device)))


def _capped(
    case: Photographs,
    device: str,
    detector: LandmarkDetector,
    whole: hrnfit.FitResult,
    peak: int,
) -> dict[str, Any]:
    """The same fit with `CAP` of the memory it took."""
    given = int(CAP * peak)
    torch.cuda.set_per_process_memory_fraction(
        given / (total_bytes(torch.device(device)) or given), device
    )
    try:
        result, used = _peak(case, device, detector)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    apart = (result.mesh("fine").vertices - whole.mesh("fine").vertices).norm(dim=-1)
    return {
        "bound_mib": given // MIB,
        "peak_mib": used // MIB,
        "seconds": round(result.seconds, 2),
        "apart_median": round(float(apart.median()), 5),
        "warnings": [w for w in result.warnings if "memory" in w],
    }
