"""Run one fit and put it against its truth: rows by level, alignment and region."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

import hrnfit
from benchmarks import data
from benchmarks.cases import Case
from hrnfit import FitResult, Recipe
from hrnfit.fit.result import LEVELS, MeshLevel
from hrnfit.metrics import vertex_scores
from hrnfit.model.face_model import FaceModel

REGIONS = ("now", "nosetip70")
KEPT = ("median", "mean", "p95", "normal_median", "normal_mean", "scale", "landmarks")
MEAN = "mean face"
ICT_MEAN = "ICT mean face"


def judged(case: Case) -> list[tuple[str, str]]:
    """Alignment and region of each row."""
    both = [(mode, region) for mode in modes_of(case) for region in REGIONS]
    return [(mode, region) for mode, region in both if (mode, region) != ("rigid", "nosetip70")]


def modes_of(case: Case) -> tuple[str, ...]:
    """Alignments that make sense: without cameras, neither place nor size is known."""
    return ("none", "rigid", "sim") if case.calibrated else ("sim",)


def run_case(
    case: Case,
    model: FaceModel,
    *,
    recipe: str | Recipe | None = None,
    device: str = "auto",
    **fit_options: Any,
) -> tuple[FitResult, dict[str, Any]]:
    """The fit, and what it is worth as JSON values."""
    began = time.perf_counter()
    result = hrnfit.fit(
        case.images,
        case.cameras,
        model=model,
        masks=case.masks,
        recipe=recipe,
        device=device,
        **fit_options,
    )
    seconds = time.perf_counter() - began
    rows = [*mean_rows(case, model), *level_rows(case, result)]
    entry: dict[str, Any] = {
        "case": case.name,
        "views": list(result.view_names),
        "device": result.provenance.get("device", ""),
        "seconds": round(seconds, 1),
        "stages": [
            {
                "name": s.name,
                "seconds": round(s.seconds, 2),
                "steps": s.steps,
                "end": s.outcome.name,
            }
            for s in result.stages
        ],
        "rows": rows,
        "warnings": list(result.warnings),
    }
    if case.focals:
        entry["focal_factors"] = {
            c.name: round(float(c.K[0, 0]) / case.focals[c.name], 3) for c in result.cameras
        }
    if case.synthetic is not None:
        entry["vertices"] = list(vertex_rows(case, result))
    return result, entry


def mesh_of(level: MeshLevel) -> Any:
    """A level as a `Mesh` of the protocol."""
    protocol = data.protocol()
    marks = level.landmarks["ibug68"][torch.tensor(protocol.NOW_LANDMARKS)]
    faces = level.faces.numpy().astype(np.int64)
    return protocol.Mesh(level.vertices.double().numpy(), faces, marks.double().numpy())


def mean_of(model: FaceModel) -> Any:
    """The mean of a model as a `Mesh` of the protocol."""
    protocol = data.protocol()
    mean = model.shape(torch.zeros(model.n_identity), torch.zeros(model.n_expression)).double()
    marks = model.landmarks["ibug68"]
    corners = mean[model.faces[marks.triangles.clamp_min(0).long()].long()]
    points = (corners * marks.barycentric.double()[..., None]).sum(1).numpy()
    faces = model.faces.numpy().astype(np.int64)
    return protocol.Mesh(mean.numpy(), faces, points[protocol.NOW_LANDMARKS])


def mean_rows(case: Case, model: FaceModel) -> Iterator[dict[str, Any]]:
    """Mean faces know nothing of the person; they lie nowhere, so `none` aligns them rigidly."""
    protocol = data.protocol()
    meshes = {ICT_MEAN: protocol.ict_mean_face(data.data_folder() / "ict" / "ict_facehead_f16.npz")}
    if model.info.name != data.model_of("ict").info.name:
        meshes[MEAN] = mean_of(model)
    for name, mesh in meshes.items():
        for mode, region in judged(case):
            alignment = "rigid" if mode == "none" else mode
            named = {"level": name, "mode": mode, "region": region}
            yield named | _mean_scores(name, mesh, case, alignment, region)


_MEAN_SCORES: dict[tuple[object, ...], dict[str, float]] = {}
"""All real sets show one head, so its mean-face rows are measured once."""


def _mean_scores(name: str, mesh: Any, case: Case, alignment: str, region: str) -> dict[str, float]:
    if case.truth is not data.rig_truth():
        return _scores(mesh, case, alignment, region)
    key = (name, len(mesh.vertices), alignment, region)
    if key not in _MEAN_SCORES:
        _MEAN_SCORES[key] = _scores(mesh, case, alignment, region)
    return _MEAN_SCORES[key]


def level_rows(case: Case, result: FitResult) -> Iterator[dict[str, Any]]:
    """One row per level, alignment and region."""
    for level in LEVELS:
        mesh = mesh_of(result.mesh(level))
        for mode, region in judged(case):
            named = {"level": level, "mode": mode, "region": region}
            yield named | _scores(mesh, case, mode, region)


def _scores(mesh: Any, case: Case, alignment: str, region: str) -> dict[str, float]:
    scores = asdict(data.protocol().evaluate(mesh, case.truth, alignment, region))
    return {key: round(scores[key], 4) for key in KEPT}


def vertex_rows(case: Case, result: FitResult) -> Iterator[dict[str, Any]]:
    """Error of the model's own vertices, by level; `now` is the protocol's sphere, `seen` all."""
    made = case.synthetic
    if made is None:
        return
    centre, radius = data.protocol().region_sphere(case.truth, "now")
    near = (made.truth.surface - torch.from_numpy(centre).float()).norm(dim=1) <= radius
    for level in LEVELS:
        found: Tensor = result.mesh(level).vertices[: len(made.seen)]
        for region, valid in (("now", made.seen & near), ("seen", made.seen)):
            scores = vertex_scores(found, made.truth.surface, made.truth.normals, valid)
            rounded = {key: round(value, 4) for key, value in asdict(scores).items()}
            yield {"level": level, "region": region} | rounded


def pick(entry: dict[str, Any], level: str, mode: str, region: str = "now") -> dict[str, Any]:
    """The row of a level; empty where the case has none."""
    wanted = {"level": level, "mode": mode, "region": region}
    rows = (row for row in entry["rows"] if wanted.items() <= row.items())
    return next(rows, {})
