"""Time and memory of importing a Basel model: `python -m benchmarks.models`.

Each import is a process of its own, from its start; `cpu` is of it and its children together, which other
work on the machine does not change; `child` is the largest process that read a foreign file for it. The
second run finds compiled code in numba's cache, as every later import of a user does. Linux only. The numbers go to `results/models.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import bfm_sheet, results
from benchmarks.machine import command, machine, revision

ABOUT = "seconds, GB and MB; files of full size in the layout of the Basel model of 2009, random content"


def main() -> None:
    """Write the files, then import each twice and load what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--here", type=Path, help="import this folder in this process, print JSON")
    parser.add_argument("--keep", type=Path, help="folder to keep the written files in")
    arguments = parser.parse_args()
    if arguments.here is not None:
        print(json.dumps(measure(arguments.here)))
        return
    with tempfile.TemporaryDirectory(prefix="hrnfit-models-") as temporary:
        root = arguments.keep or Path(temporary)
        results.write("models", ABOUT, measure_all(root))
    print((results.RESULTS / "models.json").read_text(encoding="utf-8"))


def measure_all(root: Path) -> dict[str, object]:
    """The converted file alone, with HRN's chart and maps, and the raw set."""
    plain, full, raw = root / "bfm09", root / "bfm09_hrn", root / "bfm09_raw"
    for folder in (plain, full, raw):
        folder.mkdir(parents=True, exist_ok=True)
    bfm_sheet.write_front(plain / "BFM_model_front.mat")
    if not (full / "BFM_model_front.mat").exists():
        os.link(plain / "BFM_model_front.mat", full / "BFM_model_front.mat")
    bfm_sheet.write_extras(full)
    bfm_sheet.write_raw(raw)
    about = {"command": command("models"), "machine": machine(), "revision": revision()}
    found: dict[str, object] = {}
    for folder in (plain, full, raw):
        for run in ("first", "second"):
            child = [sys.executable, "-m", "benchmarks.models", "--here", str(folder)]
            lines = subprocess.check_output(child, text=True).strip().splitlines()
            found[f"{folder.name}/{run}"] = json.loads(lines[-1]) | about
    return found


def measure(folder: Path) -> dict[str, float]:
    """Seconds and GB of `models add`, and seconds of loading what it wrote."""
    began = time.perf_counter()
    os.environ["HRNFIT_HOME"] = str(folder / "home")
    from hrnfit.importers.kinds import add_model  # local: the clock sees the import

    _, path = add_model("bfm09", folder, "measured", replace_existing=True)
    seconds, cpu = time.perf_counter() - began, sum(os.times()[:4])
    child = 1024e-9 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "import_seconds": round(seconds, 2),
        "import_cpu": round(cpu, 2),
        "import_gb": round(peak_gb(), 3),
        "child_gb": round(child, 3),
        "load_seconds": round(load_seconds(path), 3),
        "file_mb": round(path.stat().st_size / 1e6, 1),
    }


def peak_gb() -> float:
    """Largest memory of this process so far: `ru_maxrss` would begin with that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(x for x in status.splitlines() if x.startswith("VmHWM"))
    return 1024e-9 * int(line.split()[1])


def load_seconds(path: Path, runs: int = 5) -> float:
    """Least seconds of loading the model; other work on the machine only adds."""
    from hrnfit.model.load import load_model

    least = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        load_model(path)
        least = min(least, time.perf_counter() - began)
    return least


if __name__ == "__main__":
    main()
