"""A batch in processes of their own on one device: each has its interpreter, its copy of the model, its recordings.

A thread of the caller waits for each. What is asked and answered stands in `process_inside.py`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hrnfit.fit.batch_terms import Terms
from hrnfit.fit.batch_work import Fitter
from hrnfit.fit.capture import Capture
from hrnfit.fit.fit_process import FitProcess, ProcessEndedError
from hrnfit.fit.memory import processes_that_fit
from hrnfit.fit.named_model import model_and_file
from hrnfit.fit.parcels import Parcel, packed, packed_whole
from hrnfit.fit.process_inside import AskRoom, Fit, GiveBack, Open, Room
from hrnfit.fit.stages import Callback
from hrnfit.fit.workers import Crew
from hrnfit.model import store
from hrnfit.model.face_model import FaceModel

log = logging.getLogger(__name__)

GUARD = "a script must start its batch under `if __name__ == '__main__':`, since every process imports it"


class BatchProcesses:
    """Processes that fit subjects side by side, kept ready from one `fit_batch` to the next.

        with hrnfit.BatchProcesses(6, model="ict", device="cuda") as processes:
            results = hrnfit.fit_batch(captures, processes=processes)

    count: processes, one fit at a time each; they share torch's number of threads among themselves. model, device:
    as in `fit`; each process opens the model itself, or receives the object once. Within the `with` they wait for
    work and keep what they have compiled, recorded and allocated; one that died is replaced when it is needed.

    Raises ValueError for a count below 1, RuntimeError when a process does not start, or upon the start within
    a process that is importing the main script.
    """

    def __init__(
        self, count: int, *, model: str | Path | FaceModel = "generic", device: str = "auto"
    ) -> None:
        if count < 1:
            raise ValueError(f"processes: expected at least 1, got {count}")
        self.count, self.device = count, device
        self.model, _ = model_and_file(model)
        if isinstance(model, (str, Path)) and str(model) != store.GENERIC:
            model = store.resolve(model).resolve()  # a process may start in another folder
        self._opening = packed(Open(model))
        self._threads = max(1, torch.get_num_threads() // count)
        self._slots: list[FitProcess | None] = [None] * count
        self._idle = set(range(count))
        self._lock = threading.Lock()
        self.call = threading.Lock()
        """Held by the batch that uses the processes."""
        self.begun = False
        """Whether the processes wait for work."""

    def __enter__(self) -> BatchProcesses:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise RuntimeError(
                f"processes: started by a process that is itself being started; {GUARD}"
            )
        try:
            self.complete()
        except BaseException:
            self.close()
            raise
        self.begun = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def complete(self) -> None:
        """Start those that are missing, all at once."""
        missing = [i for i, p in enumerate(self._slots) if p is None or not p.usable]
        try:
            # all first: each reads only once it has imported torch, and a model is more than a pipe holds
            started = [self._start(i) for i in missing]
            for process in started:
                process.send(self._opening)
            for process in started:
                process.answer()
        except ProcessEndedError as error:
            raise RuntimeError(
                f"processes: one {error} while it was started (what it said stands above); {GUARD}"
            ) from None

    def close(self) -> None:
        """End all processes."""
        self.begun = False
        processes = self._started()
        self._slots = [None] * self.count
        for process in processes:
            process.dismiss()
        for process in processes:
            process.end()

    @contextmanager
    def lent(self) -> Generator[FitProcess]:
        """One that nobody uses, the first of them: it has most likely fitted before. It is ended when it is left
        in the midst of an answer."""
        with self._lock:
            slot = min(self._idle)
            self._idle.remove(slot)
        process = self._slots[slot]
        try:
            if process is None or not process.usable:
                process = self._start(slot)
                process.send(self._opening)
                process.answer()
            yield process
        finally:
            if process is not None and not process.usable:
                process.end()
                if self._slots[slot] is process:  # the next batch may have replaced it
                    self._slots[slot] = None
            with self._lock:
                self._idle.add(slot)

    def rooms(self, device: torch.device) -> list[Room]:
        """Memory of a GPU as each process sees it; the first begins with the GPU for that."""
        asked = enumerate(p for p in self._started() if p.usable)
        return [process.ask(AskRoom(str(device), begin=i == 0)) for i, process in asked]

    def give_back(self, device: torch.device) -> None:
        """Let the processes that nobody uses let go of what they keep."""
        for process in self._started():
            if process.usable:
                process.ask(GiveBack(str(device)))

    def _start(self, slot: int) -> FitProcess:
        """A new process, which waits for the model."""
        before = self._slots[slot]
        if before is not None:
            before.end()
        process = FitProcess(slot, self._threads, self.model)
        self._slots[slot] = process
        return process

    def _started(self) -> list[FitProcess]:
        return [process for process in self._slots if process is not None]


@dataclass(frozen=True, eq=False)
class InProcesses:
    """A `Place`: threads of a crew wait, each for a process that fits."""

    pool: BatchProcesses
    terms: bytes
    where: torch.device
    """On which the processes fit."""
    watched: bool
    ready: set[tuple[str, ...]] = field(default_factory=set)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Of the threads, which only wait."""

    def kind(self, subject: Capture) -> None:
        """Every process makes ready what it needs."""
        return None

    def workers(self, subjects: int, needed: Callable[[int | None], int]) -> int:
        """All processes, or as many as the memory allows."""
        count = self.pool.count
        if self.where.type == "cpu":
            return min(count, subjects)
        rooms = self.pool.rooms(self.where)
        free = rooms[0].free or 0
        found = processes_that_fit(
            count, subjects, needed(rooms[0].total), free, [room.held for room in rooms]
        )
        if found < min(count, subjects):
            log.warning("the memory of %s is for %d of %d processes", self.where, found, count)
        return found

    def crowded(self, workers: int) -> bool:
        """Whether memory may be short only because of others, which keep theirs when they are idle."""
        return self.pool.count > 1

    def fitter(self, crew: Crew, shared: bool) -> Fitter:
        """What one thread fits with."""

        def fitted(subject: Capture, step: Callback | None) -> Any:
            if self.pool.count > 1 and not shared:  # repeated alone
                self.pool.give_back(self.where)
            try:
                with self.pool.lent() as process:
                    return self._asked(process, subject, shared, step, lambda: crew.stopped)
            except ProcessEndedError as error:
                told = f"subject {subject.name!r}: the process that fitted it {error}"
                raise ProcessEndedError(told) from None

        return fitted

    def _asked(
        self,
        process: FitProcess,
        subject: Capture,
        shared: bool,
        step: Callback | None,
        stopped: Callable[[], bool],
    ) -> Any:
        news = None if process.terms == self.terms else self.terms
        request = Fit(subject, news, os.getcwd(), self.watched, shared)
        process.send(_parcel(request, self.pool.model))
        process.terms = self.terms
        return process.answer(step, stopped)


def _parcel(request: Fit, model: FaceModel) -> Parcel:
    try:
        return packed(request, model)
    except Exception as error:
        raise TypeError(
            f"subject {request.subject.name!r}: cannot be pickled, which it must be to reach a process ({error}); "
            "pass paths or arrays"
        ) from error


def packed_terms(terms: Terms, model: FaceModel) -> bytes:
    """The terms as every process receives them; TypeError naming what cannot be sent."""
    try:
        return packed_whole(terms, model)
    except Exception:
        for name in ("finish", "detector", "networks", "embedding", "recipe", "overrides"):
            _check_sent(name, getattr(terms, name), model)
        raise


ADVICE = {
    "finish": "pass a function of a module, not a lambda, an inner function or a method of such an object",
    "detector": "leave it out, then each process makes MediaPipe's own, or pass one that can be pickled",
}


def _check_sent(name: str, value: object, model: FaceModel) -> None:
    try:
        packed_whole(value, model)
    except Exception as error:
        advice = ADVICE.get(name, "pass one that can")
        raise TypeError(
            f"{name}: cannot be pickled, which it must be to reach the processes ({error}); {advice}"
        ) from error
