"""The part of a saved result that is read back: `state.npz` (tensors, exact) and `result.json`.

`result.json` also says what is in the folder: sizes, units, the scale of the 16-bit displacement,
and the list of files. Meshes and pictures for people and programs are written by `export`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.fit.result import FitResult, Maps, MeshLevel, StageReport
from hrnfit.observe.observation import Landmarks
from hrnfit.solve.solver import Outcome
from hrnfit.state import FaceState, Sharing
from hrnfit.tree import atomic_path, load_npz, map_tensors, save_npz

FORMAT = "hrnfit-result-1"
STATE_FILE = "state.npz"
RESULT_FILE = "result.json"


@dataclass(frozen=True, eq=False)
class MeshSequence:
    """One level's mesh in all frames: topology once, surface per frame."""

    vertices: Float[Tensor, "T N 3"]
    """World mm."""
    normals: Float[Tensor, "T N 3"]
    faces: Int[Tensor, "F 3"]
    uv: Float[Tensor, "Nuv 2"]
    uv_faces: Int[Tensor, "F 3"]
    landmarks: dict[str, Float[Tensor, "T _ 3"]] = field(default_factory=dict)
    """By scheme, world mm."""


@dataclass(frozen=True, eq=False)
class Archive:
    """Everything of a result that is made of numbers; the rest is text and lives in the JSON."""

    state: FaceState
    sharing: Sharing
    cameras: tuple[Camera, ...]
    camera_known: Bool[Tensor, "_"]
    """One per view, or empty."""
    meshes: dict[str, MeshSequence]
    maps: Maps
    photographs: tuple[UInt8[Tensor, "_"], ...]
    """File contents."""
    observed: dict[str, Landmarks]
    """By index of the view; views without landmarks are absent."""
    n_observed: int


def save_archive(result: FitResult, directory: Path, extra: Mapping[str, Any]) -> None:
    """Write `state.npz` and `result.json`; `extra` adds entries such as the list of files."""
    save_state(result, directory)
    save_summary(result, directory, extra)


def save_state(result: FitResult, directory: Path) -> None:
    """Write `state.npz`."""
    save_npz(directory / STATE_FILE, map_tensors(lambda t: t.detach().cpu(), _archive(result)))


def save_summary(result: FitResult, directory: Path, extra: Mapping[str, Any]) -> None:
    """Write `result.json`; `extra` adds entries such as the list of files."""
    text = json.dumps(summary(result) | dict(extra), indent=1, allow_nan=False, default=str)
    with atomic_path(directory / RESULT_FILE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load_result(directory: str | Path) -> FitResult:
    """Read back a folder written by `FitResult.save`; the model itself is opened when needed."""
    directory = Path(directory)
    document = read_document(directory)
    archive = load_npz(directory / STATE_FILE, Archive)
    observed = [archive.observed.get(str(i)) for i in range(archive.n_observed)]
    return FitResult(
        state=archive.state,
        sharing=archive.sharing,
        cameras=archive.cameras,
        view_names=tuple(view["name"] for view in document["views"]),
        meshes={name: _frames(name, mesh) for name, mesh in archive.meshes.items()},
        maps=archive.maps,
        stages=tuple(_stage(stage) for stage in document["stages"]),
        view_residuals={
            view["name"]: _numbers(view["residuals"])
            for view in document["views"]
            if view["residuals"]
        },
        seconds=document["seconds"],
        warnings=tuple(document["warnings"]),
        provenance=document["provenance"],
        camera_known=tuple(bool(known) for known in archive.camera_known),
        photographs=tuple(p.numpy().tobytes() for p in archive.photographs),
        observed=tuple(observed),
    )


def read_document(directory: Path) -> dict[str, Any]:
    """The content of `result.json`, checked to be one of ours."""
    path = directory / RESULT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{directory}: no {RESULT_FILE} in it; give a folder that `hrnfit fit` or FitResult.save wrote"
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); run the fit again") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path}: expected format {FORMAT!r}, got {found!r}; "
            "it is not a result, or another version of hrnfit wrote it"
        )
    return document


def summary(result: FitResult) -> dict[str, Any]:
    """The text of a result as JSON values: lengths in mm, image measures in px, times in s."""
    return {
        "format": FORMAT,
        "units": {"length": "mm", "angle": "rad", "image": "px", "time": "s"},
        "seconds": result.seconds,
        "outcome": _outcome(result.outcome),
        "warnings": list(result.warnings),
        "exported_frame": result.frame,
        "views": [_view(result, i) for i in range(len(result.view_names))],
        "meshes": {name: _counts(frames[0]) for name, frames in result.meshes.items()},
        "stages": [_stage_json(stage) for stage in result.stages],
        "provenance": finite(result.provenance),
    }


def finite(value: Any) -> Any:
    """JSON values with NaN and infinities, which JSON does not know, replaced by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [finite(item) for item in value]
    return value


def _archive(result: FitResult) -> Archive:
    found = {str(i): marks for i, marks in enumerate(result.observed) if marks is not None}
    return Archive(
        state=result.state,
        sharing=result.sharing,
        cameras=result.cameras,
        camera_known=torch.tensor(result.camera_known, dtype=torch.bool),
        meshes={name: _sequence(frames) for name, frames in result.meshes.items()},
        maps=result.maps,
        photographs=tuple(
            torch.frombuffer(bytearray(content), dtype=torch.uint8)
            for content in result.photographs
        ),
        observed=found,
        n_observed=len(result.observed),
    )


def _sequence(frames: Sequence[MeshLevel]) -> MeshSequence:
    first = frames[0]
    return MeshSequence(
        vertices=torch.stack([mesh.vertices for mesh in frames]),
        normals=torch.stack([mesh.normals for mesh in frames]),
        faces=first.faces,
        uv=first.uv,
        uv_faces=first.uv_faces,
        landmarks={
            scheme: torch.stack([mesh.landmarks[scheme] for mesh in frames])
            for scheme in first.landmarks
        },
    )


def _frames(name: str, mesh: MeshSequence) -> tuple[MeshLevel, ...]:
    return tuple(
        MeshLevel(
            name,
            mesh.vertices[t],
            mesh.normals[t],
            mesh.faces,
            mesh.uv,
            mesh.uv_faces,
            {scheme: points[t] for scheme, points in mesh.landmarks.items()},
        )
        for t in range(len(mesh.vertices))
    )


def _view(result: FitResult, i: int) -> dict[str, Any]:
    camera, name = result.cameras[i], result.view_names[i]
    return {
        "name": name,
        "frame": int(result.sharing.frame[i]),
        "width": camera.width,
        "height": camera.height,
        "camera_known": result.camera_known[i] if result.camera_known else True,
        "residuals": finite(dict(result.view_residuals.get(name, {}))),
    }


def _counts(mesh: MeshLevel) -> dict[str, int]:
    return {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}


def _outcome(outcome: Outcome | None) -> dict[str, str] | None:
    return None if outcome is None else {"name": outcome.name, "message": outcome.value}


def _stage_json(stage: StageReport) -> dict[str, Any]:
    return {
        "name": stage.name,
        "level": stage.level,
        "outcome": _outcome(stage.outcome),
        "steps": stage.steps,
        "seconds": stage.seconds,
        "energies": finite(stage.energies),
        "terms": finite(stage.terms),
        "weights": finite(stage.weights),
    }


def _stage(stage: Mapping[str, Any]) -> StageReport:
    return StageReport(
        name=stage["name"],
        level=stage["level"],
        outcome=Outcome[stage["outcome"]["name"]],
        steps=stage["steps"],
        seconds=stage["seconds"],
        energies=_series(stage["energies"]),
        terms={name: _series(values) for name, values in stage["terms"].items()},
        weights=_numbers(stage["weights"]),
    )


def _series(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else value for value in values)


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in values.items()}
