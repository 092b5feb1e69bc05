"""The accuracy results as tables for reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import mean
from typing import Any

from benchmarks.measure import ICT_MEAN, MEAN, pick
from benchmarks.results import number, table
from hrnfit.fit.result import LEVELS

Entry = dict[str, Any]

TARGETS: tuple[tuple[str, str, float, Callable[[Mapping[str, Entry]], float | None]], ...] = (
    ("rig3", "median, none", 0.28, lambda e: _value(e, "rig3", "none", "median")),
    ("rig5", "median, none", 0.20, lambda e: _value(e, "rig5", "none", "median")),
    ("rig9", "median, none", 0.10, lambda e: _value(e, "rig9", "none", "median")),
    ("rig5", "95 %, none", 0.9, lambda e: _value(e, "rig5", "none", "p95")),
    ("dist3", "median, none, over rig3", 0.03, lambda e: _difference(e)),
    ("wild5", "median, sim", 0.38, lambda e: _value(e, "wild5", "sim", "median")),
    ("wild5", "largest focal error, %", 10.0, lambda e: _focal(e)),
    ("single", "median, sim, five photographs", 0.58, lambda e: _single(e, "wild")),
    ("single", "median, sim, three rig cameras", 0.58, lambda e: _single(e, "rig")),
    ("synthetic3", "median per vertex, mean of subjects", 0.20, lambda e: _vertex(e)),
    ("rig3", "fine over mid, normal error", 1.0, lambda e: _normals(e, "rig3")),
    ("rig5", "fine over mid, normal error", 0.9, lambda e: _normals(e, "rig5")),
    ("rig9", "fine over mid, normal error", 0.9, lambda e: _normals(e, "rig9")),
)
"""What the project set out to reach with the ICT model: set, measure, at most, how it is read."""


def accuracy(entries: Mapping[str, Entry]) -> str:
    """All tables."""
    parts = [
        "# Accuracy",
        "Median distance from the scan to the mesh, mm, region now, unless said otherwise: `none` as the "
        "mesh lies in the rig, `sim` after a similarity. Made by `python -m benchmarks.accuracy`; machine, "
        "command and all other measures stand in accuracy.json.",
        "## Aims, ICT model, level mid",
        table(("set", "measure", "found", "at most"), list(_aims(entries))),
        "## By level",
        table(LEVEL_HEADER, list(_levels(entries))),
    ]
    vertices = list(_vertices(entries))
    if vertices:
        parts += ["## Synthetic subjects: error of the model's own vertices, mm, region now"]
        parts += [table(VERTEX_HEADER, vertices)]
    focals = list(_focals(entries))
    if focals:
        parts += ["## Estimated over true focal length", table(("case", "factors"), focals)]
    return "\n\n".join(parts) + "\n"


LEVEL_HEADER = (
    "case", "level", "none", "none p95", "normal °",
    "sim", "sim p95", "nosetip70 sim", "s",
)  # fmt: skip
VERTEX_HEADER = ("case", "level", "vertex", "p95", "along normal", "its p95", "across")


def _aims(entries: Mapping[str, Entry]) -> Iterator[tuple[str, ...]]:
    for name, measure, limit, read in TARGETS:
        found = read(entries)
        yield name, measure, number(found, 3), f"{limit:g}"


def _levels(entries: Mapping[str, Entry]) -> Iterator[tuple[str, ...]]:
    for key, entry in entries.items():
        for level in (ICT_MEAN, MEAN, *LEVELS):
            none, sim = pick(entry, level, "none"), pick(entry, level, "sim")
            if not sim:
                continue  # the model's own mean, where the model is ICT
            yield (
                key,
                level,
                number(none.get("median"), 3),
                number(none.get("p95")),
                number((none or sim).get("normal_mean")),
                number(sim.get("median"), 3),
                number(sim.get("p95")),
                number(pick(entry, level, "sim", "nosetip70").get("median"), 3),
                number(entry["seconds"], 0) if level == "fine" else "",
            )


def _vertices(entries: Mapping[str, Entry]) -> Iterator[tuple[str, ...]]:
    for key, entry in entries.items():
        for row in entry.get("vertices", ()):
            if row["region"] == "now":
                measures = ("median", "p95", "along_median", "along_p95", "across_median")
                yield key, row["level"], *(number(row[m], 3) for m in measures)


def _focals(entries: Mapping[str, Entry]) -> Iterator[tuple[str, str]]:
    for key, entry in entries.items():
        if "focal_factors" in entry:
            yield key, ", ".join(f"{f:.2f}" for f in entry["focal_factors"].values())


def _of(entries: Mapping[str, Entry], name: str) -> list[Entry]:
    return [e for e in entries.values() if e["set"] == name and e["model"] == "ict"]


def _value(
    entries: Mapping[str, Entry], name: str, mode: str, measure: str, level: str = "mid"
) -> float | None:
    found = [pick(entry, level, mode).get(measure) for entry in _of(entries, name)]
    known = [value for value in found if value is not None]
    return mean(known) if known else None


def _single(entries: Mapping[str, Entry], kind: str) -> float | None:
    found = [e for e in _of(entries, "single") if str(e["case"]).startswith(kind)]
    return mean(pick(e, "mid", "sim")["median"] for e in found) if found else None


def _difference(entries: Mapping[str, Entry]) -> float | None:
    bent, straight = (_value(entries, name, "none", "median") for name in ("dist3", "rig3"))
    return None if bent is None or straight is None else bent - straight


def _normals(entries: Mapping[str, Entry], name: str) -> float | None:
    mid, fine = (_value(entries, name, "none", "normal_mean", level) for level in ("mid", "fine"))
    return None if mid is None or fine is None else fine / mid


def _focal(entries: Mapping[str, Entry]) -> float | None:
    factors = [f for e in _of(entries, "wild5") for f in e["focal_factors"].values()]
    return max((100 * abs(f - 1) for f in factors), default=None)


def _vertex(entries: Mapping[str, Entry]) -> float | None:
    found = [
        row["median"]
        for entry in _of(entries, "synthetic3")
        for row in entry["vertices"]
        if row["level"] == "mid" and row["region"] == "now"
    ]
    return mean(found) if found else None
