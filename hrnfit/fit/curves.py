"""Energy curves of a stage as inline SVG: weighted terms and their total over the steps.

Drawn in the page's own colours (CSS classes and variables), so they follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from hrnfit.fit.result import StageReport

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 12, 26
COLOURS = 8
"""Number of `--c0`, `--c1`, ... in report.css."""

LOG_FROM = 20.0
"""Ratio of the largest to the smallest positive value from which the axis is logarithmic."""


def stage_curves(stage: StageReport) -> str:
    """A figure with the curves and a legend; a sentence when nothing was recorded."""
    series = weighted_series(stage)
    numbers = [v for _, values in series for v in values if math.isfinite(v)]
    caption = f"<figcaption><b>{escape(stage.name)}</b>"
    if not numbers:
        return f"<figure>{caption}<span class=num>No energies were recorded.</span></figcaption></figure>"
    axis = _axis(numbers)
    lines = "".join(_line(i, name, values, axis) for i, (name, values) in enumerate(series))
    picture = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Energies of stage {escape(stage.name)}">'
        f"{_grid(axis, max(len(values) for _, values in series))}{lines}</svg>"
    )
    legend = "".join(_legend(i, name, values) for i, (name, values) in enumerate(series))
    note = f"<span class=num>{escape(stage.level)}, {stage.steps} steps"
    note += ", logarithmic axis</span>" if axis[2] else "</span>"
    return f"<figure>{picture}{caption}{note}<ul class=legend>{legend}</ul></figcaption></figure>"


def weighted_series(stage: StageReport) -> list[tuple[str, Sequence[float]]]:
    """Total first, then each term times its weight, the largest first."""
    terms = [
        (name, [value * stage.weights.get(name, 1.0) for value in values])
        for name, values in stage.terms.items()
        if len(values)
    ]
    terms.sort(key=lambda term: -max((abs(v) for v in term[1] if math.isfinite(v)), default=0.0))
    total = [("total", stage.energies)] if stage.energies else []
    return [*total, *terms]


def _axis(numbers: Sequence[float]) -> tuple[float, float, bool]:
    """Low and high end in axis units, and whether these are decades."""
    positive = [v for v in numbers if v > 0]
    low, high = min(numbers), max(numbers)
    if positive and low >= 0 and high / min(positive) > LOG_FROM:
        # five decades: what is smaller does not matter to the total
        bottom = max(math.log10(min(positive)), math.log10(high) - 5)
        return bottom, max(math.log10(high), bottom + 0.3), True
    low = min(low, 0.0)
    return low, high if high > low else low + 1.0, False


def _y(value: float, axis: tuple[float, float, bool]) -> float:
    low, high, decades = axis
    if decades:
        value = math.log10(value) if value > 0 else low
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _x(index: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * index / max(count - 1, 1)


def _line(i: int, name: str, values: Sequence[float], axis: tuple[float, float, bool]) -> str:
    pieces, pen = [], "M"
    for k, value in enumerate(values):
        if not math.isfinite(value):
            pen = "M"  # a gap where the energy was not a number
            continue
        pieces.append(f"{pen}{_x(k, len(values)):.1f} {_y(value, axis):.1f}")
        pen = "L"
    if len(pieces) == 1:
        pieces.append("h0.01")
    style = 'class="total"' if name == "total" else f'class="term" style="stroke:{_colour(i)}"'
    return (
        f'<path {style} stroke-linejoin="round" stroke-linecap="round" d="{"".join(pieces)}">'
        f"<title>{escape(name)}: {_first_last(values)}</title></path>"
    )


def _grid(axis: tuple[float, float, bool], count: int) -> str:
    low, high, decades = axis
    marks = [low + (high - low) * k / 4 for k in range(5)]
    if decades and high - low >= 2:
        marks = [float(k) for k in range(math.ceil(low), math.floor(high) + 1)]
    parts = []
    for mark in marks:
        value = 10**mark if decades else mark
        y = _y(value, axis)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{value:.2g}</text>'
        )
    base = HEIGHT - 8
    parts.append(f'<text x="{LEFT}" y="{base}">first step</text>')
    last = "only record" if count == 1 else f"last of {count} records"
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{base}" text-anchor="end">{last}</text>')
    return "".join(parts)


def _legend(i: int, name: str, values: Sequence[float]) -> str:
    colour = "var(--ink)" if name == "total" else _colour(i)
    return f'<li><i style="background:{colour}"></i>{escape(name)} {_first_last(values)}</li>'


def _first_last(values: Sequence[float]) -> str:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return "not a number"
    return f"{finite[0]:.3g}" if len(finite) == 1 else f"{finite[0]:.3g} → {finite[-1]:.3g}"


def _colour(i: int) -> str:
    return f"var(--c{i % COLOURS})"
