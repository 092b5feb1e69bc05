"""Time and memory of the networks at their published sizes: `python -m benchmarks.nets`.

Every measurement is a process of its own on two threads, from its first line: imports, loading and the
answer. `cpu` is of all its threads. Measure on an idle machine: threads that wait for one another spin, so
that other work made both figures 3 to 4 times as large. `peak_gb` counts the pages of the weights that were read. Weights are random (`nets_files.py`), the model is `bfm_sheet.py`'s, and
the photograph a rendering of it, with given landmarks. Linux only. Results: `results/nets.json`, `nets.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import bfm_sheet, results
from benchmarks.machine import command, machine, revision
from benchmarks.nets_files import Sizes, hrn_network, write_checkpoints, write_photograph
from benchmarks.nets_run import STEPS
from benchmarks.stopwatch import REST

ABOUT = (
    "seconds, GB and MB; the run of median length of several, each a fresh process; weights of the published "
    "sizes, random; model in the layout of the Basel model of 2009; equal: bit-equal answers in all runs"
)
THREADS = 2
HEIGHT, WIDTH = 2000, 1500
"""Of the photograph, px."""

ADDED = ("hrn", "deretouch", "arcface")
CASES = {
    "inference/released": ("plain", "hrn"),
    "inference/hrnfit": ("plain", "own"),
    "inference/released+deretouch": ("full", "hrn"),
    "inference/hrnfit+deretouch": ("full", "own"),
    "fit/released": ("plain", "hrn"),
    "fit/hrnfit": ("plain", "own"),
    "fit/released+deretouch": ("full", "hrn"),
}
"""Name -> folder of networks, network that starts: `own` has the weights of `hrn` in our convention."""


def main() -> None:
    """Write the files, measure, show tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="processes per measurement")
    parser.add_argument("--case", default=",".join(CASES), help="comma-separated")
    parser.add_argument("--keep", type=Path, help="folder of the written files, used again")
    arguments = parser.parse_args()
    chosen = [name for name in arguments.case.split(",") if name in CASES]
    if len(chosen) != len(arguments.case.split(",")):
        parser.error(f"--case: known are {', '.join(CASES)}")
    with tempfile.TemporaryDirectory(prefix="hrnfit-nets-") as temporary:
        root = arguments.keep or Path(temporary)
        entries = results.read("nets") | prepared(root)
        entries |= measured(root, chosen, arguments.runs)
    results.write("nets", ABOUT, entries, ("add", "inference", "fit"))
    results.put("nets.md", summary(entries))
    print((results.RESULTS / "nets.md").read_text(encoding="utf-8"))


def prepared(root: Path, sizes: Sizes | None = None) -> dict[str, Any]:
    """Model, photograph and networks in `root`; how long adding the networks took."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "model.npz").exists():
        write_model(root)
    from hrnfit.model.load import load_model

    write_photograph(root, load_model(root / "model.npz"), HEIGHT, WIDTH)
    return write_networks(root, sizes or Sizes())


def write_model(root: Path) -> None:
    """The model in full size, imported as a user imports theirs."""
    from hrnfit.importers.kinds import add_model

    source = root / "bfm09"
    source.mkdir(exist_ok=True)
    bfm_sheet.write_front(source / "BFM_model_front.mat")
    bfm_sheet.write_extras(source)
    os.environ["HRNFIT_HOME"] = str(root / "models")
    add_model("bfm09", source, "measured", replace_existing=True)[1].replace(root / "model.npz")


def write_networks(root: Path, sizes: Sizes) -> dict[str, Any]:
    """Checkpoints, each added to the folder `full`; the folder `plain` gets the first alone."""
    full, plain, checkpoints = (root / name for name in ("full", "plain", "checkpoints"))
    checkpoints.mkdir(exist_ok=True)
    files = write_checkpoints(checkpoints, sizes)
    for folder in (full, plain):
        (folder / "nets").mkdir(parents=True, exist_ok=True)
        for file in (folder / "nets").iterdir():
            file.unlink()
    entries = {}
    for kind in ADDED:
        entry = child(["add", kind, str(files[kind])], full)
        checkpoint = round(files[kind].stat().st_size / 1e6, 1)
        entries[f"add/{kind}"] = entry | about() | {"checkpoint_mb": checkpoint}
        del entries[f"add/{kind}"]["digest"]
    os.link(full / "nets" / "hrn.safetensors", plain / "nets" / "hrn.safetensors")
    write_own(root, sizes)
    for file in files.values():
        file.unlink()
    return entries


def write_own(root: Path, sizes: Sizes) -> None:
    """The weights of `hrn` as ones that were trained in our convention."""
    from dataclasses import replace

    from hrnfit.nets.network_info import NetworkInfo
    from hrnfit.nets.weights import load_network, save_network

    published = load_network(root / "full" / "nets" / "hrn.safetensors")
    module = hrn_network(replace(sizes.hrn, convention="hrnfit"))
    module.load_state_dict(published.module.state_dict())
    info = NetworkInfo("own", "none", "yes", "benchmark", model="bfm09")
    save_network(root / "own.safetensors", module, info)


def measured(root: Path, names: Sequence[str], runs: int) -> dict[str, Any]:
    """Entries of the cases."""
    found = {}
    for name in names:
        folder, network = CASES[name]
        what = name.partition("/")[0]
        given = network if network == "hrn" else str(root / f"{network}.safetensors")
        words = [what, str(root), given, *([str(root / "out")] if what == "fit" else [])]
        found[name] = middle([child(words, root / folder) for _ in range(runs)]) | about()
        print(f"{name}: {found[name]['seconds']} s", file=sys.stderr)
    return found


def child(words: Sequence[str], home: Path) -> dict[str, Any]:
    """What a fresh process says."""
    threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    run = [sys.executable, "-m", "benchmarks.nets_run", *words]
    environment = os.environ | threads | {"HRNFIT_HOME": str(home)}
    load = round(os.getloadavg()[0], 1)
    lines = subprocess.check_output(run, text=True, env=environment).strip().splitlines()
    return json.loads(lines[-1]) | {"load": load}


def middle(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The run of median length, so that its steps add up; the largest peak; all lengths."""
    times = sorted(run["seconds"] for run in runs)
    chosen = next(run for run in runs if run["seconds"] == statistics.median_low(times))
    same = len({run["digest"] for run in runs}) == 1
    return {key: value for key, value in chosen.items() if key != "digest"} | {
        "peak_gb": max(run["peak_gb"] for run in runs),
        "runs": times,
        "equal": same,
    }


def about() -> dict[str, Any]:
    """Where and of what the figures are."""
    return {
        "command": command("nets"),
        "machine": machine() | {"threads": THREADS},
        "revision": revision(),
    }


def summary(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables for reading: whole runs, their steps, and the adding of checkpoints."""
    runs = {name: entry for name, entry in entries.items() if not name.startswith("add/")}
    added = {name: entry for name, entry in entries.items() if name.startswith("add/")}
    number = results.number
    whole = [
        (
            name,
            number(entry["seconds"]),
            number(entry["cpu"]),
            number(entry["seconds"] - entry["steps"].get("save", 0.0)),
            number(entry.get("warm")),
            number(entry["peak_gb"]),
            "yes" if entry["equal"] else "NO",
        )
        for name, entry in runs.items()
    ]
    order = ("import", *STEPS, REST)
    parts = [
        (step, *(number(entry["steps"].get(step)) for entry in runs.values())) for step in order
    ]
    adding = [
        (
            name,
            *(number(entry[key], 1) for key in ("checkpoint_mb", "file_mb")),
            *(number(entry[key]) for key in ("seconds", "peak_gb")),
            number(entry["load_s"], 3),
        )
        for name, entry in added.items()
    ]
    tables = (
        (("run", "s", "cpu s", "s without saving", "s again", "GB", "equal"), whole),
        (("s", *runs), parts),
        (("checkpoint", "MB", "MB of ours", "s", "GB", "s to load"), adding),
    )
    return "\n\n".join(results.table(header, rows) for header, rows in tables if rows) + "\n"


if __name__ == "__main__":
    main()
