"""Seconds of a fit, cold and warm, per stage: `python -m benchmarks.speed [--case rig3-256]`.

Cold is the first fit of a new process, its imports included; warm the next one in the same process.
Compiled code that an earlier process left in numba's cache is used, as it is by every later user.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()

import argparse  # noqa: E402 - the clock above has to see the imports
import json  # noqa: E402
import os  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from typing import Any  # noqa: E402

import hrnfit  # noqa: E402
from benchmarks import data, results  # noqa: E402
from benchmarks.cases import rig, single_calibrated, wild  # noqa: E402
from benchmarks.machine import command, machine, revision  # noqa: E402
from benchmarks.variants import limited  # noqa: E402
from hrnfit import load_recipe  # noqa: E402

ABOUT = (
    "seconds; cpu: of all threads together, which other work on the machine does not change; "
    "load: processes that wanted to run when the fit began"
)
CASES = {
    "view1-256": (single_calibrated, "single_view", 256),
    "rig3-256": (lambda: rig("246"), "rig", 256),
    "rig3": (lambda: rig("246"), "rig", 4096),
    "wild5": (lambda: wild("01234"), "multi_view", 4096),
}
"""Name -> case, recipe, largest window, px."""


def main() -> None:
    """Measure each case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default=",".join(CASES), help="comma-separated")
    parser.add_argument("--model", default="ict")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--here", action="store_true", help="measure in this process, print JSON")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure(arguments.case, arguments.model, arguments.device)))
        return
    for name in arguments.case.split(","):
        options = ["--case", name, "--model", arguments.model, "--device", arguments.device]
        run = [sys.executable, "-m", "benchmarks.speed", "--here", *options]
        lines = subprocess.check_output(run, text=True).strip().splitlines()
        entries = results.read("speed")
        about = {"command": command("speed"), "machine": machine(), "revision": revision()}
        entries[f"{name}/{arguments.model}"] = about | json.loads(lines[-1])
        results.write("speed", ABOUT, entries, list(CASES))
        results.put("speed.md", summary(entries))
    print(summary(results.read("speed")))


def measure(name: str, model: str, device: str) -> dict[str, Any]:
    """A cold and a warm fit."""
    make, recipe_name, size = CASES[name]
    case, recipe = make(), limited(load_recipe(recipe_name), size)
    out: dict[str, Any] = {"recipe": recipe_name, "size": size, "views": len(case.images)}
    began, cpu = BEGAN, 0.0  # the cold one pays for the process
    for state in ("cold", "warm"):
        load = os.getloadavg()[0]
        face = data.model_of(model)
        result = hrnfit.fit(
            case.images, case.cameras, model=face, masks=case.masks, recipe=recipe, device=device
        )
        out[state] = {
            "seconds": round(time.perf_counter() - began, 2),
            "cpu": round(time.process_time() - cpu, 2),
            "load": round(load, 1),
            "stages": {s.name: round(s.seconds, 2) for s in result.stages},
        }
        began, cpu = time.perf_counter(), time.process_time()
    return out


def summary(entries: Mapping[str, Any]) -> str:
    """One row per case and state."""
    rows, stages = [], []
    for key, entry in entries.items():
        for state in ("cold", "warm"):
            found = entry[state]
            rest = found["seconds"] - sum(found["stages"].values())
            cells = [f"{found[what]:.1f}" for what in ("seconds", "cpu", "load")]
            rows.append((f"{key} {state}", str(entry["views"]), *cells, f"{rest:.1f}"))
        each = ", ".join(f"{n} {s:.1f}" for n, s in entry["warm"]["stages"].items())
        stages.append(f"- {key}, warm: {each}")
    header = ("case", "views", "seconds", "CPU seconds", "load", "outside of stages")
    return "\n\n".join(["# Speed", results.table(header, rows), "\n".join(stages)]) + "\n"


if __name__ == "__main__":
    main()
