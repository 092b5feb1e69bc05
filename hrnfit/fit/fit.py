"""`fit`: one subject from one photograph, several, or a calibrated rig.

The kind of input changes only the recipe that is taken by default and the `frame` of each view; no
other code asks how many views there are.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hrnfit
from hrnfit.check import check_kind
from hrnfit.energy.perceptual import Embedding
from hrnfit.fit.appearance import fit_appearance
from hrnfit.fit.assemble import assemble
from hrnfit.fit.choose_networks import CONTINUED, choose_networks
from hrnfit.fit.embedding import choose_embedding, with_embedding
from hrnfit.fit.licensing import (
    check_detector,
    choose_device,
    detector_parts,
    licence_record,
    planned_parts,
    solver_parts,
)
from hrnfit.fit.network_start import begun_with_networks
from hrnfit.fit.prepare import Prepared, prepare
from hrnfit.fit.recipe import Recipe, load_recipe
from hrnfit.fit.result import FitResult, StageReport
from hrnfit.fit.stages import Callback, Progress, run_stages
from hrnfit.infer.networks import Networks
from hrnfit.licences import check_commercial
from hrnfit.model import store
from hrnfit.model.face_model import FaceModel
from hrnfit.model.load import load_model
from hrnfit.observe.landmarks import LandmarkDetector
from hrnfit.observe.load import Cameras, GivenLandmarks, Images, Masks, load_views
from hrnfit.observe.observation import View
from hrnfit.render.backend import rasterizer
from hrnfit.solve.solver import Outcome
from hrnfit.state import FaceState

__all__ = ["Progress", "fit"]

log = logging.getLogger(__name__)


def fit(
    images: Images,
    cams: Cameras = None,
    *,
    model: str | Path | FaceModel = "generic",
    recipe: str | Path | Recipe | None = None,
    masks: Masks = None,
    landmarks: GivenLandmarks = None,
    frames: Sequence[int] | None = None,
    device: str = "auto",
    max_size: int | None = None,
    overrides: Mapping[str, object] | None = None,
    progress: Callback | None = None,
    detector: LandmarkDetector | None = None,
    start: FitResult | None = None,
    commercial: bool = False,
    networks: str | Path | Networks | None = None,
    embedding: Embedding | None = None,
) -> FitResult:
    """Fit one subject to its photographs.

    images: paths or arrays ((H, W), (H, W, 3 | 4); uint8 or uint16 sRGB, float linear), one or many,
    or a dict by name. cams: a camera file, `Camera` objects, or None when unknown. frames: instant of
    each view; by default all one with cameras, each its own without. recipe: a name, a YAML file or
    a `Recipe`; by default `single_view`, `multi_view` or `rig`, as the input is. overrides: dotted
    recipe keys. device: `auto`, `cpu` or `cuda`. max_size: longest image side, px; the cameras of the
    result are those of the shrunk images. start: an earlier result of the same views to continue from.
    commercial: refuse every part whose terms do not permit commercial use, before any work.
    model: a name, a file or a `FaceModel`. masks: a folder, or images by name; 1 (white) keeps a pixel.
    landmarks: a JSON file, or (68 | 478 | 5, 2) pixels by image name, NaN where missing; by default
    `detector` finds them (MediaPipe). networks: weights to start from, a name of `hrnfit nets list`, a file
    or `Networks`; by default those kept for the model, unless the recipe starts from landmarks.
    embedding: what the term `perceptual` compares faces by, from (B, 3, 112, 112) sRGB in [-1, 1]; by
    default ArcFace weights that are kept. progress: called with a `Progress` after each step.

    Lengths are mm. Raises ValueError, TypeError, FileNotFoundError or ImportError with advice when
    the input cannot be fitted, LicenceError (a ValueError) when `commercial` refuses it; bad views of
    several are left out and named in `warnings`.
    """
    began = time.perf_counter()
    if start is not None:
        check_kind("start", start, (FitResult,), "a result, such as FitResult.load(folder)")
        if networks is not None:
            raise ValueError(
                "networks: given beside start=, from which the fit would continue; leave one of them out"
            )
    if progress is not None:
        check_kind("progress", progress, (Callable,), "a function that takes a Progress")  # type: ignore[arg-type]
    where, told = choose_device(device, commercial)
    face = load_model(model) if isinstance(model, (str, Path)) else model
    parts = planned_parts(face.info, where, start)
    if commercial:
        check_commercial(parts)
    views, warnings = load_views(images, cams, masks, landmarks, frames, max_size)
    if commercial:
        check_detector(views, detector)
    chosen = _recipe(recipe, views, overrides)
    renderer = rasterizer("auto", where)
    choice = CONTINUED if start is not None else choose_networks(networks, chosen, face, commercial)
    compared = choose_embedding(chosen, embedding)
    learned = (*choice.parts, *([compared.part] if compared.part else []))
    parts = (*parts, *learned)
    if commercial:
        check_commercial(learned)
    with torch.no_grad():
        begun = prepare(views, face, chosen, renderer, where, detector)
    if start is not None:
        begun = _continued(begun, start)
    begun = begun_with_networks(begun, choice)
    begun = replace(begun, scene=with_embedding(begun.scene, chosen, compared.embedding))
    prepared_seconds = time.perf_counter() - began
    state, reports, notes = run_stages(
        begun.scene, begun.state, chosen, begun.focal_deviation, progress
    )
    parts = (*parts, *detector_parts(begun.detector), *solver_parts(chosen, reports))
    scene = begun.scene.framed(state)
    with torch.no_grad():
        if chosen.appearance == "fit" or not begun.by_networks:
            state = fit_appearance(scene, state)
        if not _finite(state):
            raise ValueError(
                "the fit ended in NaN; check the cameras (hrnfit cameras FILE) and the images"
            )
        return assemble(
            scene,
            state,
            (_start_report(begun.started["by"], prepared_seconds), *reports),
            time.perf_counter() - began,
            (*told, *warnings, *begun.warnings, *notes),
            _provenance(chosen, face, images, where, _model_file(model))
            | licence_record(parts, commercial)
            | {"start": begun.started},
        )


def _recipe(
    recipe: str | Path | Recipe | None,
    views: tuple[View, ...],
    overrides: Mapping[str, object] | None,
) -> Recipe:
    """The recipe asked for, or the one that fits the input."""
    if isinstance(recipe, Recipe):
        if overrides:
            raise ValueError("overrides: a Recipe object takes none; use dataclasses.replace")
        return recipe
    if recipe is not None:
        check_kind("recipe", recipe, (str, Path), "a name, a YAML file or a Recipe")
    if recipe is None:
        known = all(view.camera_known for view in views)
        recipe = "single_view" if len(views) == 1 else "rig" if known else "multi_view"
    return load_recipe(recipe, overrides)


def _continued(begun: Prepared, start: FitResult) -> Prepared:
    """The start replaced by the state of an earlier result of the same views and model."""
    ours = tuple(view.name for view in begun.scene.views)
    if ours != start.view_names:
        raise ValueError(f"start: it was fitted to {start.view_names}, these views are {ours}")
    for name in ("identity", "expression", "deformation", "displacement", "albedo_map", "light"):
        there, here = getattr(start.state, name).shape, getattr(begun.state, name).shape
        if there != here:
            raise ValueError(
                f"start: {name} has shape {tuple(there)}, this fit needs {tuple(here)}; "
                "use the same model and recipe"
            )
    state = start.state.to(begun.scene.device)
    return replace(begun, state=state, scene=begun.scene.framed(state))


def _finite(state: FaceState) -> bool:
    return all(bool(torch.isfinite(leaf).all()) for leaf in vars(state).values())


def _start_report(by: str, seconds: float) -> StageReport:
    """The start as a stage of its own, so that its time is seen; `by`: landmarks, networks or result."""
    level = {"landmarks": "coarse", "networks": "mid", "result": "fine"}[by]
    return StageReport(by, level, Outcome.CONVERGED, 1, seconds)


def _model_file(model: str | Path | FaceModel) -> dict[str, str]:
    """Path and SHA-256 of the file a model came from; a name that ships needs no path."""
    if not isinstance(model, (str, Path)):
        return {}
    path = store.resolve(model)
    where = {} if str(model) == store.GENERIC else {"path": str(path.resolve())}
    if path.is_file():
        where["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return where


def _provenance(
    recipe: Recipe,
    model: FaceModel,
    images: Images,
    device: torch.device,
    model_file: Mapping[str, str],
) -> dict[str, Any]:
    """What is needed to say how a result was made."""
    info = model.info
    return {
        "versions": {
            "hrnfit": hrnfit.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "recipe": recipe.text,
        "inputs": _inputs(images),
        "model": {
            "name": info.name,
            "licence": info.licence,
            "commercial": info.commercial,
            "source": info.source,
            **model_file,
        },
        "device": str(device),
        "command": " ".join(sys.argv),
    }


def _inputs(images: Images) -> list[dict[str, str]]:
    """Path and SHA-256 of every image file; arrays by their bytes."""
    if isinstance(images, Mapping):
        sources = list(images.values())
    elif isinstance(images, (str, Path, np.ndarray, torch.Tensor)):
        sources = [images]
    else:
        sources = list(images)
    out = []
    for source in sources:
        if isinstance(source, (str, Path)):
            path = Path(source)
            content = path.read_bytes() if path.is_file() else b""
            out.append({"path": str(path), "sha256": hashlib.sha256(content).hexdigest()})
        else:
            content = np.ascontiguousarray(np.asarray(source)).tobytes()
            out.append({"path": "", "sha256": hashlib.sha256(content).hexdigest()})
    return out
