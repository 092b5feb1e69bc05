"""`fit_batch`: the same recipe for many subjects in one call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hrnfit.check import check_kind, check_one_of
from hrnfit.energy.perceptual import Embedding
from hrnfit.fit.batch_detector import own_detector
from hrnfit.fit.batch_processes import BatchProcesses, InProcesses, packed_terms
from hrnfit.fit.batch_terms import Finish, Known, Saved, Terms
from hrnfit.fit.batch_threads import InThreads
from hrnfit.fit.batch_work import BatchProgress, BatchWork, Place
from hrnfit.fit.capture import (
    Capture,
    check_captures,
    fault,
    kind_of,
    named_captures,
    photograph_sizes,
)
from hrnfit.fit.device import numbered
from hrnfit.fit.licensing import choose_device, planned_parts
from hrnfit.fit.memory import fit_bytes
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
    model: str | Path | FaceModel | None = None,
    recipe: str | Path | Recipe | None = None,
    overrides: Mapping[str, object] | None = None,
    device: str = "auto",
    max_size: int | None = None,
    workers: int | None = None,
    processes: int | BatchProcesses | None = None,
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
    free memory, at most 3, on the CPU one after the other. processes: fit in so many processes instead of threads, or
    in those of a `BatchProcesses`, which also gives model and device; then `finish` and `detector` must be picklable,
    and `finish` is called in the process. model: by default `generic`. on_error: `keep` puts a subject's exception in its
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
    subjects = _checked(captures, workers, processes, on_error, save, finish, progress)
    model, device = _of_processes(processes, model, device)
    where = numbered(choose_device(device, commercial)[0])
    face, file = model_and_file(model)
    if commercial:
        check_commercial(planned_parts(face.info, where, None))
    if isinstance(recipe, (str, Path)):
        recipe, overrides = load_recipe(recipe, overrides), None
    if isinstance(networks, (str, Path)):
        networks = load_networks(networks)
    if save is not None:
        finish = Saved(Path(save))
    elif finish is not None and processes is None:
        finish = _one_at_a_time(finish)
    terms = Terms(
        device=device if where.type == "cpu" else str(where),
        recipe=recipe,
        overrides=overrides,
        max_size=max_size,
        commercial=commercial,
        networks=networks,
        embedding=embedding,
        detector=detector,
        finish=finish,
    )
    needed = partial(_most_needed, terms, subjects, face, where)
    count, known = len(subjects), (face, file)
    with _place(processes, workers, count, model, terms, known, where, progress) as place:
        most = place.workers(count, needed)
        nothing = [None] * count
        return BatchWork(subjects, place, progress, on_error == "raise", nothing).run(most)


def _checked(
    captures: Sequence[Capture],
    workers: int | None,
    processes: int | BatchProcesses | None,
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
    _check_counts(workers, processes)
    subjects = named_captures(captures)
    if save is not None:
        for subject in subjects:
            check_folder(Path(save) / subject.name, f"save={str(save)!r}")
    return subjects


def _check_counts(workers: int | None, processes: int | BatchProcesses | None) -> None:
    if workers is not None and workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    if processes is not None:
        what = "a number of processes or a hrnfit.BatchProcesses"
        check_kind("processes", processes, (int, BatchProcesses), what)
    if workers is not None and processes is not None:
        raise ValueError("workers: given beside processes=; leave one of them out")
    if isinstance(processes, BatchProcesses) and not processes.begun:
        raise ValueError(
            "processes: they are not running; use them within `with hrnfit.BatchProcesses(...) as processes:`"
        )
    if isinstance(processes, int) and processes < 1:
        raise ValueError(f"processes: expected at least 1, got {processes}")


def _of_processes(
    processes: int | BatchProcesses | None, model: str | Path | FaceModel | None, device: str
) -> tuple[str | Path | FaceModel, str]:
    """Model and device of the batch: those of processes that are running already."""
    if not isinstance(processes, BatchProcesses):
        return "generic" if model is None else model, device
    if model is not None and model is not processes.model:
        raise ValueError("model: the processes have theirs from their start; leave it out here")
    if device not in ("auto", processes.device):
        raise ValueError(
            f"device: {device!r}, but the processes were started for {processes.device!r}; leave it out here"
        )
    return processes.model, processes.device


@contextmanager
def _place(
    processes: int | BatchProcesses | None,
    workers: int | None,
    subjects: int,
    model: str | Path | FaceModel,
    terms: Terms,
    known: Known,
    where: torch.device,
    progress: Callable[[BatchProgress], None] | None,
) -> Generator[Place]:
    """Where the fits run."""
    watched = progress is not None
    if processes is None:
        # on the CPU steps are told to nobody as well, to hear of an interrupt; on a GPU the host would have to wait
        watched = watched or where.type == "cpu"
        yield InThreads(terms, known, where, own_detector(terms.detector), watched, workers)
        return
    content = packed_terms(terms, known[0])
    if isinstance(processes, int):
        count = min(processes, subjects)
        with BatchProcesses(count, model=model, device=terms.device) as pool:
            yield InProcesses(pool, content, where, watched)
        return
    with processes.call:
        processes.complete()
        yield InProcesses(processes, content, where, watched)


def _most_needed(
    terms: Terms,
    subjects: Sequence[Capture],
    model: FaceModel,
    device: torch.device,
    total: int | None,
) -> int:
    """Bound of the memory of the largest fit, bytes, on a GPU that has `total`; 0 on the CPU, where it decides
    nothing, and of a faulty capture."""
    if device.type == "cpu":
        return 0
    return max(
        _needed(subject, terms, model, total) if fault(subject) is None else 0
        for subject in subjects
    )


def _needed(capture: Capture, terms: Terms, model: FaceModel, total: int | None) -> int:
    recipe = terms.recipe
    if recipe is None:
        usual = {"single": "single_view", "views": "multi_view", "rig": "rig"}
        recipe = load_recipe(usual[kind_of(capture)], terms.overrides)
    sizes = photograph_sizes(capture, terms.max_size)
    frames = 1 if capture.cams is not None else max(len(sizes), 1)
    return fit_bytes(recipe, model, sizes, total, frames)


def _one_at_a_time(finish: Finish | None) -> Finish | None:
    """The caller's function, entered by one worker at a time."""
    if finish is None:
        return None
    lock = threading.Lock()

    def guarded(name: str, result: FitResult) -> Any:
        with lock:
            return finish(name, result)

    return guarded
