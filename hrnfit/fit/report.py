"""`report.html`: one file that shows a whole fit, with nothing loaded from anywhere.

The page's frame, style and scripts are in `templates/`; curves, pictures and the packed meshes come
from `curves`, `report_pictures` and `report_mesh`. Text from outside is escaped here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import torch

from hrnfit.fit.curves import stage_curves
from hrnfit.fit.licensing import recorded_parts
from hrnfit.fit.overlay import ViewPictures
from hrnfit.fit.report_mesh import viewer_document
from hrnfit.fit.report_pictures import map_pictures
from hrnfit.fit.report_views import view_figure
from hrnfit.fit.result import FitResult, StageReport
from hrnfit.solve.solver import Outcome
from hrnfit.tree import write_bytes

MOOD = {
    Outcome.CONVERGED: "good",
    Outcome.MAX_STEPS: "mild",
    Outcome.STALLED: "mild",
    Outcome.NON_FINITE: "bad",
}
"""Style of an outcome's label."""

PERMITTED = {"yes": "good", "ask": "mild", "no": "bad"}
"""Style of a licence's label."""

MEASURES = {"landmark": "Landmarks, px", "photometric": "Photometric"}
"""Column titles of known residuals; others appear under their own name."""


def write_report(result: FitResult, pictures: Sequence[ViewPictures], path: Path) -> None:
    """Write the page, atomically."""
    write_bytes(path, report_page(result, pictures).encode())


def report_page(result: FitResult, pictures: Sequence[ViewPictures]) -> str:
    """The whole page as text."""
    subject = ", ".join(result.view_names[:3]) + (" …" if len(result.view_names) > 3 else "")
    # pictures are shrunk and encoded side by side
    with ThreadPoolExecutor(max(1, min(torch.get_num_threads(), len(pictures), 8))) as threads:
        views = "".join(threads.map(partial(view_figure, result), range(len(pictures)), pictures))
    return Template(_template("report.html")).substitute(
        title=escape(f"hrnfit: {subject}"),
        heading=escape(f"One face from {_count(len(result.view_names), 'photograph')}"),
        lead=escape(_lead(result, subject)),
        tiles=_tiles(result),
        warnings=_warnings(result.warnings),
        style=_template("report.css"),
        views=views,
        maps="".join(_map_figure(one) for one in map_pictures(result.maps)),
        curves="".join(stage_curves(stage) for stage in result.stages)
        or "<p class=note>No stage ran.</p>",
        stages=stage_table(result.stages),
        residuals=residual_table(result),
        licences=licence_table(result.provenance),
        provenance=provenance_list(result.provenance),
        # "<" is spelt out so that no text in the data can end the script element
        mesh=json.dumps(viewer_document(result), separators=(",", ":")).replace("<", "\\u003c"),
        viewer=_template("viewer.js"),
        page=_template("report.js"),
    )


def stage_table(stages: Sequence[StageReport]) -> str:
    """Stages with steps, seconds, energy before and after, and the outcome's advice."""
    rows = [
        [
            f"<th scope=row>{escape(stage.name)}</th>",
            f"<td>{escape(stage.level)}</td>",
            f"<td class=r>{stage.steps}</td>",
            f"<td class=r>{stage.seconds:.1f}</td>",
            f"<td class=r>{_fall(stage.energies)}</td>",
            f"<td>{outcome_pill(stage.outcome)} {escape(_advice(stage.outcome))}</td>",
        ]
        for stage in stages
    ]
    right = ("Steps", "Seconds", "Energy")
    return _table(("Stage", "Level", *right, "How it ended"), rows, right)


def residual_table(result: FitResult) -> str:
    """Views with size, instant, camera and residuals."""
    found = {name for row in result.view_residuals.values() for name in row}
    names = [name for name in MEASURES if name in found] + sorted(found - MEASURES.keys())
    titles = [MEASURES.get(name, name.replace("_", " ")) for name in names]
    rows: list[list[str]] = []
    for i, view in enumerate(result.view_names):
        camera = result.cameras[i]
        known = result.camera_known[i] if result.camera_known else True
        row = result.view_residuals.get(view, {})
        rows.append(
            [
                f"<th scope=row>{escape(view)}</th>",
                f"<td class=r>{camera.width} × {camera.height}</td>",
                f"<td class=r>{int(result.sharing.frame[i])}</td>",
                f"<td>{'given' if known else 'estimated'}</td>",
                f"<td class=r>{float(camera.K[0, 0]):.0f}</td>",
                *(f"<td class=r>{_number(row.get(name))}</td>" for name in names),
            ]
        )
    right = ("Size, px", "Instant", "Focal, px", *titles)
    head = ("View", "Size, px", "Instant", "Camera", "Focal, px", *titles)
    return _table(head, rows, right)


def licence_table(provenance: Mapping[str, Any]) -> str:
    """What the fit used and under which terms, after a sentence that sums them up."""
    parts = recorded_parts(provenance)
    if not parts:
        return "<p class=note>Nothing was recorded.</p>"
    rows = [
        [
            f"<th scope=row>{escape(part.name)}</th>",
            f"<td>{escape(part.kind)}</td>",
            f"<td>{escape(part.licence)}</td>",
            f'<td><span class="pill {PERMITTED.get(part.commercial, "bad")}">'
            f"{escape(part.commercial)}</span></td>",
            f"<td>{escape(part.note)}</td>",
            f"<td>{escape(part.attribution)}</td>",
        ]
        for part in parts
    ]
    allowed = "all of it may be used" if provenance.get("commercial_use") else "not all may be used"
    asked = ", which was asked for" if provenance.get("commercial_asked") else ""
    head = ("Part", "What", "Licence", "Commercial use", "Terms", "Say beside a product")
    return (
        f"<p class=note>What this result was made with; {allowed} commercially{asked}. Read the terms "
        f"yourself: this is no legal advice.</p><div class=scroll tabindex=0>{_table(head, rows, ())}</div>"
    )


def provenance_list(provenance: Mapping[str, Any]) -> str:
    """What made the result: scalars as a list, the recipe folded away."""
    facts: list[str] = []
    for key, value in provenance.items():
        if key in ("recipe", "licences") or value in (None, "", [], {}):
            continue
        facts.append(f"<dt>{escape(key.replace('_', ' '))}</dt><dd>{_fact(value)}</dd>")
    text = f"<dl class=facts>{''.join(facts)}</dl>" if facts else ""
    recipe = provenance.get("recipe")
    if recipe:
        text += f"<details><summary>Recipe</summary><pre>{escape(str(recipe))}</pre></details>"
    return text or "<p class=note>Nothing was recorded.</p>"


def outcome_pill(outcome: Outcome) -> str:
    """The outcome's name as a coloured label."""
    name = outcome.name.replace("_", " ").lower()
    return f'<span class="pill {MOOD.get(outcome, "mild")}">{escape(name)}</span>'


def _lead(result: FitResult, subject: str) -> str:
    frames = result.sharing.n_frames
    model = result.provenance.get("model") or {}
    name = model.get("name") if isinstance(model, Mapping) else str(model)
    text = f"{subject}: "
    if len(result.view_names) == 1:
        text += "a single view"
    elif frames == 1:
        text += "all views of one instant, sharing expression and head pose"
    else:
        text += f"{frames} instants, sharing identity, deformation and albedo"
    return text + (f"; model {name}." if name else ".")


def _tiles(result: FitResult) -> str:
    landmark = [row["landmark"] for row in result.view_residuals.values() if "landmark" in row]
    fine = result.mesh("fine")
    outcome = result.outcome
    tiles = [
        ("Views", str(len(result.view_names))),
        ("Time", f"{result.seconds:.1f} <small>s</small>"),
        ("Stages", str(len(result.stages))),
        ("Last outcome", outcome_pill(outcome) if outcome else "none"),
        ("Fine mesh", f"{len(fine.vertices):,} <small>vertices</small>"),
        ("Displacement map", "{} × {}".format(*result.maps.displacement.shape)),
    ]
    if landmark:
        mean = sum(landmark) / len(landmark)
        tiles.insert(2, ("Landmark error", f"{mean:.2f} <small>px, mean of views</small>"))
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles)


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    title = _count(len(warnings), "warning")
    return f'<div class="warnings" role="note"><strong>{title}</strong><ul>{items}</ul></div>'


def _map_figure(one: Any) -> str:
    scale = ""
    if one.gradient:
        scale = (
            f'<div class=scale><span>{one.low}</span><i style="background:{one.gradient}"></i>'
            f"<span>{one.high}</span></div>"
        )
    return (
        f'<figure><img src="{one.picture}" alt="{one.title} map" loading="lazy">'
        f"<figcaption><b>{one.title}</b><span class=num>{one.note}</span>{scale}</figcaption></figure>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> str:
    titles = "".join(
        f"<th scope=col{' class=r' if name in right else ''}>{escape(name)}</th>" for name in head
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{escape(str(k))}: {_fact(v)}" for k, v in value.items() if v not in (None, ""))
        return "; ".join(pairs)
    if isinstance(value, (list, tuple)):
        return "<br>".join(_fact(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(str(value))


def _fall(energies: Sequence[float]) -> str:
    finite = [e for e in energies if math.isfinite(e)]
    return f"{finite[0]:.4g} → {finite[-1]:.4g}" if finite else "–"


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _advice(outcome: Outcome) -> str:
    """The message without its first words where these repeat the label."""
    text = outcome.value.removeprefix("converged: ")
    return text[:1].upper() + text[1:]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _template(name: str) -> str:
    return (files("hrnfit.fit") / "templates" / name).read_text(encoding="utf-8")
