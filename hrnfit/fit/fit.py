"""`fit`: one subject from one photograph, several, or a calibrated rig.

The kind of input changes only the recipe that is taken by default and the `frame` of each view; no
other code asks how many views there are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from hrnfit.check import check_kind
from hrnfit.energy.perceptual import Embedding
from hrnfit.fit.choose_networks import CONTINUED, Choice, choose_networks
from hrnfit.fit.device import current_device
from hrnfit.fit.embedding import EmbeddingChoice, choose_embedding, with_embedding
from hrnfit.fit.licensing import (
    check_detector,
    choose_device,
    planned_parts,
)
from hrnfit.fit.memory import fit_bytes, total_bytes
from hrnfit.fit.named_model import model_and_file
from hrnfit.fit.network_start import begun_with_networks
from hrnfit.fit.out_of_memory import is_out_of_memory
from hrnfit.fit.photographs import started_photograph
from hrnfit.fit.prepare import Prepared, prepare
from hrnfit.fit.recipe import Recipe, load_recipe
from hrnfit.fit.record import Record, provenance
from hrnfit.fit.result import FitResult
from hrnfit.fit.stages import Callback, Done, Progress, each_stage
from hrnfit.infer.networks import Networks
from hrnfit.licences import check_commercial
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.landmarks import LandmarkDetector
from hrnfit.observe.load import Cameras, GivenLandmarks, Images, Masks, listed, load_views
from hrnfit.observe.observation import View
from hrnfit.render.backend import rasterizer
from hrnfit.render.rasterizer import Rasterizer

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
    recipe keys. device: `auto`, `cpu`, `cuda` or `cuda:N`. max_size: longest image side, px; the cameras of the
    result are those of the shrunk images. start: an earlier result of the same views to continue from.
    commercial: refuse every part whose terms do not permit commercial use, before any work.
    model: a name, a file or a `FaceModel`. masks: a folder, or images by name; 1 (white) keeps a pixel.
    landmarks: a JSON file, or (68 | 478 | 5, 2) pixels by image name, NaN where missing; by default
    `detector` finds them (MediaPipe). networks: weights to start from, a name of `hrnfit nets list`, a file
    or `Networks`; by default those kept for the model, unless the recipe starts from landmarks.
    embedding: what the term `perceptual` compares faces by, from (B, 3, 112, 112) sRGB in [-1, 1]; by
    default ArcFace weights that are kept. progress: called with a `Progress` after each step.

    Lengths are mm. Raises ValueError, TypeError, FileNotFoundError or ImportError with advice when
    the input cannot be fitted, LicenceError (a ValueError) when `commercial` refuses it, OutOfMemoryError (a
    MemoryError) with the finished stages; bad views of several are left out and named in `warnings`.
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
    face, file = model_and_file(model)
    parts = planned_parts(face.info, where, start)
    if commercial:
        check_commercial(parts)
    images = listed(images)
    views, warnings = load_views(images, cams, masks, landmarks, frames, max_size)
    if commercial:
        check_detector(views, detector)
    chosen = _recipe(recipe, views, overrides)
    renderer = rasterizer("auto", where)
    choice = CONTINUED if start is not None else choose_networks(networks, chosen, face, commercial)
    compared = choose_embedding(chosen, embedding)
    learned = (*choice.parts, *([compared.part] if compared.part else []))
    if commercial:
        check_commercial(learned)
    record = Record(
        recipe=chosen,
        device=where,
        began=began,
        warnings=(*told, *warnings),
        provenance=provenance(chosen, face, images, where, file),
        parts=(*parts, *learned),
        commercial=commercial,
    )
    begin = partial(_begun, views, face, chosen, renderer, where, detector, start, choice, compared)
    with current_device(where):
        return _fitted(begin, record, views, face, progress)


def _fitted(
    begin: Callable[[], Prepared],
    record: Record,
    views: tuple[View, ...],
    face: FaceModel,
    progress: Callback | None,
) -> FitResult:
    """Begin, run the stages, and make the result, or what can be made of it when memory runs out."""
    for view in views:
        started_photograph(view.image)  # done when the result needs it
    begun, done = None, None
    try:
        begun = begin()
        begun = replace(begun, seconds=time.perf_counter() - record.began)
        done = Done(begun.state, running="the first stage")
        deviation = begun.focal_deviation
        for reached in each_stage(begun.scene, begun.state, record.recipe, deviation, progress):
            done = reached
        return record.result(begun, done)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        sizes = [(view.camera.height, view.camera.width) for view in views]
        frames = 1 + max(view.frame for view in views)
        needed = fit_bytes(record.recipe, face, sizes, total_bytes(record.device), frames)
        return record.rescued(error, begun, done, needed)


def _begun(
    views: tuple[View, ...],
    face: FaceModel,
    recipe: Recipe,
    renderer: Rasterizer,
    device: torch.device,
    detector: LandmarkDetector | None,
    start: FitResult | None,
    choice: Choice,
    compared: EmbeddingChoice,
) -> Prepared:
    """Where the stages begin: from landmarks, networks or an earlier result."""
    with torch.no_grad():
        begun = prepare(views, face, recipe, renderer, device, detector)
    if start is not None:
        begun = _continued(begun, start)
    begun = begun_with_networks(begun, choice)
    return replace(begun, scene=with_embedding(begun.scene, recipe, compared.embedding))


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
