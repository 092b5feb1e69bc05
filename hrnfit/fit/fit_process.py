"""The caller's end of one process that fits: started, asked, and told apart when it dies."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from hrnfit.fit.parcels import Parcel, opened, packed, receive, send
from hrnfit.fit.process_inside import Failed, Fitted, Step, serve
from hrnfit.fit.stages import Callback
from hrnfit.fit.workers import Stopped
from hrnfit.model.face_model import FaceModel

POLL = 0.2
"""Seconds between two looks at whether the batch was interrupted."""
PATIENCE = 5.0
"""Seconds that an idle process has for its end."""


class ProcessEndedError(RuntimeError):
    """A process that ended before it had answered."""


class RaisedInProcess(Exception):
    """Cause of an exception that was raised in another process: the traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class FitProcess:
    """One process; it answers one request at a time."""

    def __init__(self, number: int, threads: int, model: FaceModel) -> None:
        self._model = model
        self.terms: bytes | None = None
        """Those that it was given last."""
        spawn = multiprocessing.get_context("spawn")  # a forked child cannot use CUDA
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=serve, args=(theirs, threads), name=f"hrnfit-fit-{number}", daemon=True
        )
        with _uninterrupted():
            self._process.start()
        theirs.close()
        self._busy = True  # until it has answered to what opens it

    @property
    def usable(self) -> bool:
        """Whether it lives and waits for a request."""
        return not self._busy and self._process.is_alive()

    def send(self, parcel: Parcel) -> None:
        """Hand over a request, which `answer` must follow."""
        self._busy = True
        try:
            send(self._connection, parcel)
        except OSError:
            raise ProcessEndedError(self._ended()) from None

    def answer(self, step: Callback | None = None, stopped: Callable[[], bool] = bool) -> Any:
        """What came of the request; raises what was raised there, ProcessEndedError, and `Stopped` when told to."""
        while True:
            answer = opened(self._received(stopped), self._model)
            if isinstance(answer, Step):
                if step is not None:
                    step(answer.progress)
                continue
            self._busy = False
            if isinstance(answer, Failed):
                answer.error.__cause__ = answer.cause or RaisedInProcess(answer.trace)
                raise answer.error
            assert isinstance(answer, Fitted)
            return answer.outcome

    def ask(self, request: object) -> Any:
        """One request that takes a moment."""
        self.send(packed(request, self._model))
        return self.answer()

    def dismiss(self) -> None:
        """Tell it that nothing will follow."""
        self._connection.close()

    def end(self) -> None:
        """Have it end: at once where it is busy."""
        self.dismiss()
        if not self._busy:
            self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _received(self, stopped: Callable[[], bool]) -> Parcel:
        while not wait([self._connection, self._process.sentinel], POLL):
            if stopped():
                raise Stopped
        try:
            if not self._connection.poll():
                raise EOFError  # it is the process that has news
            return receive(self._connection)
        except (EOFError, OSError):
            raise ProcessEndedError(self._ended()) from None

    def _ended(self) -> str:
        """How it ended, in words."""
        self._process.join(PATIENCE)
        code = self._process.exitcode
        if code is None:
            return "closed its connection"
        if code >= 0:
            return f"ended by itself with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        short = "; the system does so when the host's memory is short: start fewer processes"
        return f"was ended by {name}{short if name == 'SIGKILL' else ''}"


@contextmanager
def _uninterrupted() -> Generator[None]:
    """A process that is started within never sees Ctrl-C, which a terminal sends to all."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
