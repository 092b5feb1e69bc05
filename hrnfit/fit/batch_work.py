"""The course of a batch: who is fitted by which worker, and what comes of each subject.

One subject's failure is not another's: its exception stands in its place. Nothing that was fitted is lost,
whatever ends the call.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.fit.capture import Capture, fault, kind_of
from hrnfit.fit.out_of_memory import OutOfMemoryError, release_frames
from hrnfit.fit.result import FitResult
from hrnfit.fit.stages import Progress
from hrnfit.fit.workers import Crew, Stopped
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.landmarks import LandmarkDetector

log = logging.getLogger(__name__)

Finish = Callable[[str, FitResult], Any]
"""What becomes of a finished result: the subject's name and the result in, what the list shall hold out."""


_READY: MutableMapping[FaceModel, set[tuple[str, ...]]] = WeakIdKeyDictionary()
"""Of each model: recipe, device and kind of captures that were fitted on a GPU, as long as the model lives."""


@dataclass(frozen=True)
class BatchProgress:
    """What the caller's callback receives, one call at a time."""

    name: str
    """Of the subject."""
    index: int
    """Of the subject, from 0."""
    count: int
    """Subjects in all."""
    done: int
    """Subjects that are finished or failed."""
    step: Progress | None
    """Where this subject's fit stands; None when it has just ended."""


class BatchError(RuntimeError):
    """A batch that ended early."""

    results: list[Any]
    """As `fit_batch` returns them, None for subjects that were not fitted."""

    def __init__(self, message: str, results: list[Any]) -> None:
        super().__init__(message)
        self.results = results


class BatchInterrupted(KeyboardInterrupt):
    """Ctrl-C in a batch."""

    results: list[Any]
    """As `fit_batch` returns them, None for subjects that were not fitted."""

    def __init__(self, results: list[Any], done: int) -> None:
        super().__init__(f"interrupted; {done} of {len(results)} subjects are in `results`")
        self.results = results


class UnfinishedError(RuntimeError):
    """A subject that was fitted, but whose result could not be saved or was refused by `finish`."""

    result: FitResult

    def __init__(self, message: str, result: FitResult) -> None:
        super().__init__(message)
        self.result = result


@dataclass(eq=False)
class BatchWork:
    """The state of one call: what is asked for, and what has come of it."""

    subjects: tuple[Capture, ...]
    work: Callable[..., FitResult]
    device: torch.device
    detector: Callable[[], LandmarkDetector]
    """Gives a worker the detector that it may use."""
    progress: Callable[[BatchProgress], None] | None
    finish: Finish | None
    stop_on_error: bool
    recipe: tuple[str, str]
    """Its text and the overrides, which tell it from others."""
    shared: tuple[FaceModel, Mapping[str, str]]
    """The model as every result holds it, and what its provenance says of the file."""
    outcomes: list[Any]
    again: list[int] = field(default_factory=list)
    """Subjects that ran out of memory beside others."""
    failed: tuple[str, Exception] | None = None
    """What ends the batch early: whose fault, and which."""
    done: int = 0
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def run(self, workers: int) -> list[Any]:
        """All outcomes; see `fit_batch`."""
        try:
            self._run(workers)
        except KeyboardInterrupt:
            raise BatchInterrupted(self.outcomes, self.done) from None
        except Exception as error:  # of no subject: a stream for which there is no memory, say
            raise BatchError(str(error), self.outcomes) from error
        if self.failed is not None:
            name, error = self.failed
            raise BatchError(f"{name}: {error}", self.outcomes) from error
        return self.outcomes

    def _run(self, workers: int) -> None:
        """Faulty captures first; on a GPU one of each kind alone; then all others; then, alone again, those for
        which memory was short."""
        sound: list[int] = []
        for i, subject in enumerate(self.subjects):
            found = fault(subject)
            if found is None:
                sound.append(i)
            else:
                self._ended(i, found)
        if self.device.type == "cuda" and workers > 1:
            sound = self._led(sound)
        self._crew(workers, sound)
        if self.again:
            log.warning("%d subjects ran out of memory: repeated alone", len(self.again))
            again, self.again = self.again, []
            self._crew(1, sorted(again))

    def _led(self, indices: list[int]) -> list[int]:
        """Fit the first of each kind alone, so that kernels are compiled and what belongs to the model is there
        before two workers ask for it; what is left. The next one leads where the first failed."""
        left, face = list(indices), self.shared[0]
        ready = _READY.setdefault(face, set())
        for i in indices:
            kind = (*self.recipe, str(self.device), kind_of(self.subjects[i]))
            if kind not in ready and self.failed is None:
                left.remove(i)
                self._crew(1, [i])
                if not isinstance(self.outcomes[i], Exception):
                    ready.add(kind)
        return left

    def _crew(self, workers: int, indices: list[int]) -> None:
        if self.failed is None:
            crew = Crew(self.device, workers)
            crew.run(indices, lambda: partial(self._fit, crew, self.detector(), workers > 1))

    def _fit(self, crew: Crew, detector: LandmarkDetector, shared: bool, index: int) -> None:
        """Fit one subject and put down what came of it."""
        subject = self.subjects[index]
        watched = self.progress is not None or self.device.type == "cpu"
        try:
            result = self.work(
                subject.images,
                subject.cams,
                masks=subject.masks,
                landmarks=subject.landmarks,
                frames=subject.frames,
                detector=detector,
                # on a GPU a callback makes the host wait for every energy
                progress=partial(self._step, crew, index) if watched else None,
            )
        except Exception as error:
            release_frames(error)  # they hold photographs and tensors of the device
            if isinstance(error, OutOfMemoryError) and shared:
                self.again.append(index)
                return
            self._ended(index, error)
        else:
            self._ended(index, self._finished(index, result))
        if self.failed is not None:
            crew.close()

    def _finished(self, index: int, result: FitResult) -> Any:
        """What the list holds for a result."""
        face, file = self.shared
        model = {**result.provenance["model"], **file}
        result = replace(result, model=face, provenance={**result.provenance, "model": model})
        if self.finish is None:
            return result
        name = self.subjects[index].name
        try:
            return self.finish(name, result)
        except Exception as error:
            message = f"subject {name!r} was fitted, but {error}; it is in this error's `result`"
            unfinished = UnfinishedError(message, result)
            unfinished.__cause__ = error
            return unfinished

    def _ended(self, index: int, outcome: Any) -> None:
        name = self.subjects[index].name
        self.outcomes[index] = outcome
        if isinstance(outcome, Exception):
            log.warning("subject %r: %s", name, outcome)
            if self.stop_on_error and self.failed is None:
                self.failed = (f"subject {name!r}", outcome)
        with self._telling:
            self.done += 1
        self._tell(index, None)

    def _step(self, crew: Crew, index: int, step: Progress) -> None:
        """Pass a fit's progress on; leave the fit when the batch was interrupted."""
        if crew.stopped:
            raise Stopped
        self._tell(index, step)
        if self.failed is not None and self.failed[0] == "progress":
            raise Stopped

    def _tell(self, index: int, step: Progress | None) -> None:
        if self.progress is None:
            return
        name, count = self.subjects[index].name, len(self.subjects)
        try:
            with self._telling:
                self.progress(BatchProgress(name, index, count, self.done, step))
        except Exception as error:
            self.failed = ("progress", error)
