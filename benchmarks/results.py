"""Results on disk: JSON that grows by the sets that were run, and a table for reading."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def read(name: str) -> dict[str, Any]:
    """Entries of an earlier run by key; none when there was none."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))["entries"]


def write(name: str, about: str, entries: Mapping[str, Any], order: Sequence[str] = ()) -> None:
    """All entries, in the order of the sets they belong to; a reader never meets half a file."""
    rank = {key: i for i, key in enumerate(order)}
    keys = sorted(entries, key=lambda key: (rank.get(key.split("/")[0], len(rank)), key))
    document = {"about": about, "entries": {key: entries[key] for key in keys}}
    put(f"{name}.json", compact(document) + "\n")


def put(file: str, text: str) -> None:
    """Write a file whole."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    partial = RESULTS / f".{file}.{os.getpid()}"
    partial.write_text(text, encoding="utf-8")
    partial.replace(RESULTS / file)


def compact(value: Any, indent: int = 0) -> str:
    """JSON with innermost objects and lists on one line each, so that a difference can be read."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(v, (dict, list)) and v for v in inner):
        return json.dumps(value, ensure_ascii=False)
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(k)}: {compact(v, indent + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(pad + part for part in parts) + "\n" + " " * indent + "}"
    parts = [compact(v, indent + 1) for v in value]
    return "[\n" + ",\n".join(pad + part for part in parts) + "\n" + " " * indent + "]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads as text too; the first column is text."""
    widths = [max(len(str(row[i])) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first = str(cells[0]).ljust(widths[0])
        others = (str(c).rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))
        return "| " + " | ".join([first, *others]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def number(value: float | None, digits: int = 2) -> str:
    """A cell; empty where there is no value."""
    return "" if value is None else f"{value:.{digits}f}"
