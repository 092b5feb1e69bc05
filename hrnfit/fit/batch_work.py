"""The course of a batch: who is fitted by which worker, and what comes of each subject.

One subject's failure is not another's: its exception stands in its place. Nothing that was fitted is lost,
whatever ends the call.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch

from hrnfit.fit.capture import Capture, fault
from hrnfit.fit.out_of_memory import OutOfMemoryError, release_frames
from hrnfit.fit.stages import Callback, Progress
from hrnfit.fit.workers import Crew, Stopped

log = logging.getLogger(__name__)


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


Fitter = Callable[[Capture, Callback | None], Any]
"""What one worker fits with: the subject, and what is told of its steps; what the list holds of it."""


@runtime_checkable
class Place(Protocol):
    """Where the fits of a batch run."""

    @property
    def device(self) -> torch.device:
        """On which the workers' threads work themselves."""
        ...

    @property
    def watched(self) -> bool:
        """Whether fits report their steps."""
        ...

    @property
    def ready(self) -> set[tuple[str, ...]]:
        """Kinds of subjects of which one was fitted before."""
        ...

    def kind(self, subject: Capture) -> tuple[str, ...] | None:
        """Subjects of one kind need that one of them was fitted alone; None: they do not."""
        ...

    def workers(self, subjects: int, needed: Callable[[int | None], int]) -> int:
        """How many to fit at once; `needed`: the bytes of one fit on a GPU that has so many."""
        ...

    def crowded(self, workers: int) -> bool:
        """Whether memory may be short only because of others."""
        ...

    def fitter(self, crew: Crew, shared: bool) -> Fitter:
        """What one worker fits with; `shared`: others may use the memory as well."""
        ...


@dataclass(eq=False)
class BatchWork:
    """The state of one call: what is asked for, and what has come of it."""

    subjects: tuple[Capture, ...]
    place: Place
    progress: Callable[[BatchProgress], None] | None
    stop_on_error: bool
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
        """Faulty captures first; where it matters one of each kind alone; then all others; then, alone again, those
        for which memory was short."""
        sound: list[int] = []
        for i, subject in enumerate(self.subjects):
            found = fault(subject)
            if found is None:
                sound.append(i)
            else:
                self._ended(i, found)
        if workers > 1:
            sound = self._led(sound)
        self._crew(workers, sound, self.place.crowded(workers))
        if self.again:
            log.warning("%d subjects ran out of memory: repeated alone", len(self.again))
            again, self.again = self.again, []
            self._crew(1, sorted(again), False)

    def _led(self, indices: list[int]) -> list[int]:
        """Fit the first of each kind alone; what is left. The next one leads where the first failed."""
        left, ready = list(indices), self.place.ready
        for i in indices:
            kind = self.place.kind(self.subjects[i])
            if kind is not None and kind not in ready and self.failed is None:
                left.remove(i)
                self._crew(1, [i], self.place.crowded(1))
                if not isinstance(self.outcomes[i], Exception):
                    ready.add(kind)
        return left

    def _crew(self, workers: int, indices: list[int], shared: bool) -> None:
        if self.failed is None:
            crew = Crew(self.place.device, workers)
            crew.run(
                indices, lambda: partial(self._fit, crew, self.place.fitter(crew, shared), shared)
            )

    def _fit(self, crew: Crew, fitter: Fitter, shared: bool, index: int) -> None:
        """Fit one subject and put down what came of it."""
        step = partial(self._step, crew, index) if self.place.watched else None
        try:
            outcome = fitter(self.subjects[index], step)
        except Exception as error:
            release_frames(error)  # they hold photographs and tensors of the device
            if isinstance(error, OutOfMemoryError) and shared:
                self.again.append(index)
                return
            outcome = error
        self._ended(index, outcome)
        if self.failed is not None:
            crew.close()

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
