"""Accuracy in mm: `python -m benchmarks.accuracy [--set rig3,wild5] [--model ict|generic|all]`.

Fits each set and measures every level against the truth, beside the mean faces that know nothing.
`results/accuracy.json` keeps what was run, set by set; `results/accuracy.md` is its table.
"""

from __future__ import annotations

import argparse
import json
import logging

from benchmarks import data, prepared, results, summary
from benchmarks.cases import sets
from benchmarks.machine import command, machine, revision
from benchmarks.measure import run_case
from hrnfit.observe.landmarks import LandmarkDetector

ABOUT = "mm and degrees; protocol: evaluate.py of the data folder, points area"
MODELS = ("ict", "generic")


def main() -> None:
    """Run the sets that were asked for, and add them to the results."""
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.WARNING)
    detector = prepared.load(arguments.prepared)
    models = MODELS if arguments.model == "all" else (arguments.model,)
    for model in models:
        for name in chosen(arguments.set, list(sets(model))):
            run_set(name, model, arguments.device, detector)
    print(summary.accuracy(results.read("accuracy")))


def parser() -> argparse.ArgumentParser:
    known = ", ".join(sets("ict"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", default="all", help=f"comma-separated, of: {known}; all")
    parser.add_argument("--model", default="ict", help="ict, generic, all, or a model's name")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--prepared", help="file of `python -m benchmarks.prepared`")
    return parser


def chosen(text: str, known: list[str]) -> list[str]:
    """Sets by name; ValueError names the known ones."""
    names = known if text == "all" else [part.strip() for part in text.split(",")]
    for name in names:
        if name not in known:
            raise ValueError(f"--set: unknown set {name!r}; known: {', '.join(known)}, all")
    return names


def run_set(name: str, model: str, device: str, detector: LandmarkDetector | None = None) -> None:
    """Fit and measure the cases of a set, and keep each as soon as it is done."""
    about = {"command": command("accuracy"), "machine": machine(), "revision": revision()}
    for case in sets(model)[name]():
        print(f"{name}, {model}: {case.name}", flush=True)
        _, entry = run_case(case, data.model_of(model), device=device, detector=detector)
        entries = results.read("accuracy")
        entries[f"{name}/{model}/{case.name}"] = about | {"set": name, "model": model} | entry
        results.write("accuracy", ABOUT, entries, list(sets(model)))
        results.put("accuracy.md", summary.accuracy(entries))
        print(json.dumps({"seconds": entry["seconds"], "warnings": entry["warnings"]}), flush=True)


if __name__ == "__main__":
    main()
