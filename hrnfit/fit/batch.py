"""`fit_batch`: the same recipe for many subjects in one call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hrnfit.check import check_kind, check_one_of
from hrnfit.energy.perceptual import Embedding
from hrnfit.fit.batch_detector import own_detector
from hrnfit.fit.batch_work import BatchProgress, BatchWork, Finish
from hrnfit.fit.capture import (
    Capture,
    check_captures,
    fault,
    kind_of,
    named_captures,
    photograph_sizes,
)
from hrnfit.fit.device import numbered
from hrnfit.fit.fit import fit
from hrnfit.fit.licensing import choose_device, planned_parts
from hrnfit.fit.memory import fit_bytes, total_bytes, workers_that_fit
from hrnfit.fit.named_model import model_and_file
from hrnfit.fit.recipe import Recipe, load_recipe
from hrnfit.fit.result import FitResult
from hrnfit.fit.save_folder import check_folder
from hrnfit.infer.load_networks import load_networks
from hrnfit.infer.networks import Networks
from hrnfit.licences import check_commercial
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.landmarks import LandmarkDetector


def fit_batch(
    captures: Sequence[Capture],
    *,
    model: str | Path | FaceModel = "generic",
    recipe: str | Path | Recipe | None = None,
    overrides: Mapping[str, object] | None = None,
    device: str = "auto",
    max_size: int | None = None,
    workers: int | None = None,
    on_error: str = "keep",
    save: str | Path | None = None,
    finish: Finish | None = None,
    progress: Callable[[BatchProgress], None] | None = None,
    detector: LandmarkDetector | None = None,
    commercial: bool = False,
    networks: str | Path | Networks | None = None,
    embedding: Embedding | None = None,
) -> list[Any]:
    """Fit many subjects by the same recipe: `hrnfit.fit` for each, sharing model, networks and device.

    captures: one `Capture` per subject. workers: subjects at once; by default on a GPU as many as fit into its
    free memory, at most 3, on the CPU one after the other. on_error: `keep` puts a subject's exception in its
    place, `raise` ends the batch with `BatchError`. save: folder in which each result is saved under its
    subject's name as soon as it is there; finish: a function that receives (name, result) instead. progress:
    called with a `BatchProgress`. All else is as in `fit`.

    Returns a list in the order of the captures: a `FitResult`, with `save` the folder it is in, with `finish`
    what that returned, or the exception of the subject. With `save` or `finish` no result stays in memory.
    On the CPU the results are, bit for bit, those of single fits with the same number of torch threads; `workers`
    divide these among themselves.

    Raises ValueError and TypeError before any work; BatchError, and BatchInterrupted upon Ctrl-C, with what was
    done by then.
    """
    subjects = _checked(captures, workers, on_error, save, finish, progress)
    where = numbered(choose_device(device, commercial)[0])
    face, file = model_and_file(model)
    if commercial:
        check_commercial(planned_parts(face.info, where, None))
    if isinstance(recipe, (str, Path)):
        recipe, overrides = load_recipe(recipe, overrides), None
    if isinstance(networks, (str, Path)):
        networks = load_networks(networks)
    work = partial(
        fit,
        model=face,
        recipe=recipe,
        overrides=overrides,
        device=device if where.type == "cpu" else str(where),
        max_size=max_size,
        commercial=commercial,
        networks=networks,
        embedding=embedding,
    )
    batch = BatchWork(
        subjects=subjects,
        work=work,
        device=where,
        detector=own_detector(detector),
        progress=progress,
        finish=_one_at_a_time(finish) if save is None else partial(_saved, Path(save)),
        stop_on_error=on_error == "raise",
        recipe=(recipe.text if isinstance(recipe, Recipe) else "", repr(overrides)),
        shared=(face, file),
        outcomes=[None] * len(subjects),
    )
    if workers is None:
        needed = max(_needed(one, recipe, overrides, face, max_size, where) for one in subjects)
        workers = workers_that_fit(where, len(subjects), needed)
    return batch.run(workers)


def _checked(
    captures: Sequence[Capture],
    workers: int | None,
    on_error: str,
    save: str | Path | None,
    finish: Finish | None,
    progress: Callable[[BatchProgress], None] | None,
) -> tuple[Capture, ...]:
    """The captures by name, when nothing is wrong with the call."""
    check_captures(captures)
    check_one_of("on_error", on_error, {"keep", "raise"})
    if save is not None and finish is not None:
        raise ValueError("save: given beside finish=; let finish save, or leave it out")
    for name, function in (("progress", progress), ("finish", finish)):
        if function is not None:
            check_kind(name, function, (Callable,), "a function")  # type: ignore[arg-type]
    if workers is not None:
        check_kind("workers", workers, (int,), "a whole number of subjects at once")
        if workers < 1:
            raise ValueError(f"workers: expected at least 1, got {workers}")
    subjects = named_captures(captures)
    if save is not None:
        for subject in subjects:
            check_folder(Path(save) / subject.name, f"save={str(save)!r}")
    return subjects


def _needed(
    capture: Capture,
    recipe: Recipe | None,
    overrides: Mapping[str, object] | None,
    model: FaceModel,
    max_size: int | None,
    device: torch.device,
) -> int:
    """Bound of one fit's memory, bytes; 0 on the CPU, where it decides nothing, and of a faulty capture."""
    if device.type == "cpu" or fault(capture) is not None:
        return 0
    if recipe is None:
        usual = {"single": "single_view", "views": "multi_view", "rig": "rig"}
        recipe = load_recipe(usual[kind_of(capture)], overrides)
    sizes = photograph_sizes(capture, max_size)
    frames = 1 if capture.cams is not None else max(len(sizes), 1)
    return fit_bytes(recipe, model, sizes, total_bytes(device), frames)


def _saved(folder: Path, name: str, result: FitResult) -> Path:
    return result.save(folder / name)


def _one_at_a_time(finish: Finish | None) -> Finish | None:
    """The caller's function, entered by one worker at a time."""
    if finish is None:
        return None
    lock = threading.Lock()

    def guarded(name: str, result: FitResult) -> Any:
        with lock:
            return finish(name, result)

    return guarded
