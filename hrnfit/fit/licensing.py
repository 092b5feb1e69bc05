"""Which parts a fit uses and under which terms: asked before it, recorded after it.

The record is made of what ran: the renderer and detector objects, the solvers of the stages that were
not skipped, the model, and all that an earlier result used when a fit continues from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import torch

from hrnfit.fit.device import named_device
from hrnfit.fit.recipe import Recipe
from hrnfit.fit.result import FitResult, StageReport
from hrnfit.licences import (
    Commercial,
    Part,
    PartKind,
    check_commercial,
    is_installed,
    known_part,
)
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.terms import model_part
from hrnfit.observe.landmarks import LandmarkDetector, MediaPipeDetector
from hrnfit.observe.observation import View
from hrnfit.render.backend import chosen_backend

SOLVERS = {
    "surface": "hrnfit solvers",
    "coefficients": "hrnfit solvers",
    "map": "hrnfit solvers",
    "adam": "torch.optim",
    "lbfgs": "torch.optim",
}
"""Part that solves the stages of each solver."""

SHOWN = ("kind", "name", "licence", "commercial", "source", "note", "attribution")
"""Fields of a part that are recorded."""

STAYED = (
    "commercial use was asked for: the CPU renders, and the GPU is left alone, since the renderer for it "
    "({name}) is under {licence}"
)


def choose_device(name: str, commercial: bool = False) -> tuple[torch.device, tuple[str, ...]]:
    """The device of a request (`auto`, `cpu`, `cuda` or `cuda:N`) and warnings about the choice. `auto` takes a
    GPU when there is one with its renderer, and with `commercial` only when that renderer's terms permit it."""
    if name != "auto":
        return named_device(name), ()
    renderer = renderer_part("cuda")
    if not (torch.cuda.is_available() and is_installed(renderer)):
        return torch.device("cpu"), ()
    if commercial and renderer.commercial != "yes":
        return torch.device("cpu"), (STAYED.format(name=renderer.name, licence=renderer.licence),)
    return torch.device("cuda"), ()


def planned_parts(
    model: ModelInfo, device: str | torch.device, start: FitResult | None
) -> tuple[Part, ...]:
    """What a fit will surely use: our code, the model, the renderer, and what its start used."""
    own = (known_part("code", "hrnfit"), model_part(model), renderer_part(device))
    return own if start is None else (*own, *earlier_parts(start.provenance))


def check_detector(views: Sequence[View], detector: LandmarkDetector | None) -> None:
    """Raise LicenceError when landmarks would have to be found by a detector that does not permit
    commercial use."""
    if any(view.landmarks is None for view in views):
        check_commercial([detector_part(detector)])


def renderer_part(device: str | torch.device) -> Part:
    """The renderer that a fit takes on a device."""
    return known_part("renderer", chosen_backend("auto", device))


def detector_part(detector: LandmarkDetector | None) -> Part:
    """The terms of a detector; None is the one that is taken by default. One of the caller's own says
    them in an attribute `part`."""
    if detector is None or isinstance(detector, MediaPipeDetector):
        return known_part("detector", "MediaPipe")
    return stated_part(
        detector,
        "detector",
        "landmarks= (--landmarks), or a detector with an attribute `part` that states its terms",
    )


def stated_part(given: object, kind: PartKind, substitute: str) -> Part:
    """The terms of an object of the caller's own: its attribute `part`, else they are not stated."""
    stated = getattr(given, "part", None)
    if isinstance(stated, Part):
        return stated
    return Part(
        name=type(given).__name__,
        kind=kind,
        licence="not stated",
        commercial="ask",
        source="given by the caller",
        note="an object of the caller's own says its terms in an attribute `part`, a hrnfit.licences.Part",
        substitute=substitute,
    )


def detector_parts(detector: LandmarkDetector | None) -> tuple[Part, ...]:
    """The part of a detector that was asked; empty when none was."""
    return () if detector is None else (detector_part(detector),)


def solver_parts(recipe: Recipe, reports: Iterable[StageReport]) -> tuple[Part, ...]:
    """Solvers of the stages that ran; the landmark start, which always does, is solved by ours."""
    ran = {report.name for report in reports}
    names = [SOLVERS[stage.solver] for stage in recipe.stages if stage.name in ran]
    return tuple(known_part("solver", name) for name in dict.fromkeys(("hrnfit solvers", *names)))


def licence_record(parts: Iterable[Part], asked: bool) -> dict[str, Any]:
    """JSON values for a result's provenance: `licences` (each part once), `commercial_use` (whether all
    permit it) and `commercial_asked`."""
    rows = {(part.kind, part.name, part.licence): part for part in parts}
    return {
        "licences": [_shown(part) for part in rows.values()],
        "commercial_use": all(part.commercial == "yes" for part in rows.values()),
        "commercial_asked": asked,
    }


def recorded_parts(provenance: Mapping[str, Any]) -> tuple[Part, ...]:
    """The parts of a record; none when the result is older than records."""
    return tuple(_recorded(row) for row in provenance.get("licences") or ())


def earlier_parts(provenance: Mapping[str, Any]) -> tuple[Part, ...]:
    """What an earlier result used; one from before records tells its renderer by its device."""
    recorded = recorded_parts(provenance)
    if recorded or "device" not in provenance:
        return recorded
    on_cpu = torch.device(str(provenance["device"])).type == "cpu"
    return (known_part("renderer", "cpu" if on_cpu else "nvdiffrast"),)  # then the only one on CUDA


def licence_line(provenance: Mapping[str, Any]) -> str:
    """A result's terms in one line; empty when it has no record."""
    parts = recorded_parts(provenance)
    if not parts:
        return ""
    named = ", ".join(dict.fromkeys(part.name for part in parts))
    doubtful = [part for part in parts if part.commercial != "yes"]
    if not doubtful:
        return f"licences: commercial use permitted ({named})"
    reasons = "; ".join(f"{part.kind} {part.name}: {part.licence}" for part in doubtful)
    return f"licences: not for commercial use ({reasons})"


def licence_text(provenance: Mapping[str, Any]) -> str:
    """A result's terms as a text to pass on with it: each part, and the attribution that is due."""
    parts = recorded_parts(provenance)
    if not parts:
        return ""
    lines = ["This result was made with:", ""]
    for part in parts:
        lines.append(f"{part.kind} {part.name}: {part.licence}; commercial use: {part.commercial}")
        lines += [f"    {text}" for text in (part.source, part.note, part.attribution) if text]
    return "\n".join([*lines, "", licence_line(provenance), ""])


def _recorded(row: Mapping[str, str]) -> Part:
    return Part(
        name=row["name"],
        kind=cast(PartKind, row["kind"]),
        licence=row["licence"],
        commercial=cast(Commercial, row["commercial"]),
        source=row.get("source", ""),
        note=row.get("note", ""),
        attribution=row.get("attribution", ""),
    )


def _shown(part: Part) -> dict[str, Any]:
    return {key: value for key, value in asdict(part).items() if key in SHOWN and value != ""}
