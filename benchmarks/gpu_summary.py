"""The GPU's figures as a page of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.results import number, table

SPLIT = (
    "total", "load", "detect", "init", "coarse", "mid", "fine", "appearance", "fuse", "rest",
)  # fmt: skip


def summary(entries: Mapping[str, Any]) -> str:
    """Markdown of all parts that were measured."""
    parts = {name: entry["figures"] for name, entry in entries.items()}
    out = ["# The fit on a GPU", ""]
    out += [_machines(entries), ""]
    for title, make in SECTIONS.items():
        body = make(parts)
        if body:
            out += [f"## {title}", "", body, ""]
    return "\n".join(out).rstrip() + "\n"


def _machines(entries: Mapping[str, Any]) -> str:
    lines = []
    for name, entry in entries.items():
        where = entry["machine"]
        lines.append(
            f"- {name}: {where.get('gpu', where['cpu'])}, torch {entry['torch']}, "
            f"revision {entry['revision']}: `{entry['command']}`"
            + (f" ({entry['note']})" if entry.get("note") else "")
        )
    return "\n".join(lines)


def _seconds(parts: Mapping[str, Any]) -> str:
    rows = []
    for device in ("cuda", "cpu"):
        for case, entry in parts.get(device, {}).items():
            for kind in ("first", "warm"):
                seconds = entry[kind]
                if seconds:
                    values = (number(seconds.get(name), 3) for name in SPLIT)
                    rows.append([f"{case}, {device}, {kind}", *values])
    return table(["seconds", *SPLIT], rows) if rows else ""


def _accuracy(parts: Mapping[str, Any]) -> str:
    rows = []
    for device in ("cuda", "cpu"):
        for case, entry in parts.get(device, {}).items():
            scores = entry["accuracy"]
            cells = [f"{s['median']:.3f} / {s['p95']:.2f}" for s in scores.values()]
            rows.append([f"{case}, {device}", *cells])
    return table(["median / p95, mm", *scores], rows) if rows else ""


def _agreement(parts: Mapping[str, Any]) -> str:
    rows = [
        [f"{case}, {level}", *(f"{value:g}" for value in row.values())]
        for case, levels in parts.get("agreement", {}).items()
        for level, row in levels.items()
    ]
    return table(["GPU against CPU, mm", "median", "p95", "largest"], rows) if rows else ""


def _render(parts: Mapping[str, Any]) -> str:
    rows = [
        [f"{surface}, {backend}, {what}", number(value, 3)]
        for surface, backends in parts.get("render", {}).items()
        if isinstance(backends, dict)
        for backend, times in backends.items()
        for what, value in times.items()
        if isinstance(value, float)
    ]
    return table(["five views at 512 px", "ms"], rows) if rows else ""


def _iterations(parts: Mapping[str, Any]) -> str:
    rows = [[name, number(value, 3)] for name, value in parts.get("iterations", {}).items()]
    return table(["iteration", "ms"], rows) if rows else ""


def _batch(parts: Mapping[str, Any]) -> str:
    rows = [
        [count, number(e["seconds"], 2), number(e["per_second"], 2), str(e["peak_mib"])]
        for count, e in parts.get("batch", {}).items()
    ]
    return table(["workers: subjects", "seconds", "subjects/s", "peak MiB"], rows) if rows else ""


def _memory(parts: Mapping[str, Any]) -> str:
    rows = [
        [name, str(e["bound_mib"]), str(e["peak_mib"])]
        for name, e in parts.get("memory", {}).items()
    ]
    return table(["fit", "bound, MiB", "peak, MiB"], rows) if rows else ""


SECTIONS = {
    "Seconds of a fit, without reading and writing files": _seconds,
    "Accuracy": _accuracy,
    "The same result": _agreement,
    "Rendering, forward and backward": _render,
    "Iterations": _iterations,
    "Many subjects": _batch,
    "Memory": _memory,
}
