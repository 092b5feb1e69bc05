"""What a process of a batch does: it opens the model, then fits one subject after the other, as it is told.

Requests and answers are parcels. A fit is answered by any number of `Step`, then by `Fitted` or `Failed`.
"""

from __future__ import annotations

import os
import signal
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import torch

from hrnfit.fit.batch_detector import own_detector
from hrnfit.fit.batch_terms import Known, Terms, UnfinishedError
from hrnfit.fit.capture import Capture
from hrnfit.fit.fallback import beside_others, give_back
from hrnfit.fit.memory import CONTEXT
from hrnfit.fit.named_model import model_and_file
from hrnfit.fit.out_of_memory import release_frames
from hrnfit.fit.parcels import Parcel, opened, packed, receive, send
from hrnfit.fit.stages import Progress
from hrnfit.model.face_model import FaceModel


@dataclass(frozen=True)
class Open:
    """First request: the model, a name, a path or an object."""

    model: str | Path | FaceModel


@dataclass(frozen=True)
class Fit:
    """Request: fit one subject."""

    subject: Capture
    terms: bytes | None
    """`Terms`, pickled; None when they are those of the fit before."""
    folder: str
    """Working directory of the caller, for relative paths."""
    watched: bool
    """Whether steps are to be told."""
    shared: bool
    """Whether a lack of memory is an error at once, because others use it too."""


@dataclass(frozen=True)
class AskRoom:
    """Request: how much memory of a GPU there is."""

    device: str
    begin: bool
    """Whether to begin with the GPU for that; otherwise only one that has been used is asked."""


@dataclass(frozen=True)
class Room:
    """Memory of a GPU as one process sees it, bytes."""

    held: int = 0
    """By this process."""
    free: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class GiveBack:
    """Request: let go of what is kept on a GPU for the next fit."""

    device: str


@dataclass(frozen=True)
class Step:
    """Answer: where a fit stands."""

    progress: Progress


@dataclass(frozen=True)
class Fitted:
    """Answer: what came of the request."""

    outcome: Any = None


@dataclass(frozen=True)
class Failed:
    """Answer: what was raised."""

    error: Exception
    cause: BaseException | None
    trace: str
    """Where it was raised, in the process."""


def serve(connection: Connection, threads: int) -> None:
    """Answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller hears Ctrl-C and ends this process
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    inside = _Inside(connection)
    try:
        while True:
            parcel = receive(connection)
            try:
                answer: Any = inside.answer(parcel)
            except Exception as error:
                answer = failure(error, inside.model)
            send(connection, _sendable(answer, inside.model))
    except (EOFError, OSError):  # the caller has closed, or is gone
        return


class _Inside:
    """What stays between requests."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: Known | None = None
        self._terms: Terms | None = None
        self._detector = own_detector(None)()

    @property
    def model(self) -> FaceModel | None:
        return self._known[0] if self._known is not None else None

    def answer(self, parcel: Parcel) -> Fitted:
        """Do what is asked; raises what that raises."""
        request = opened(parcel, self.model)
        if isinstance(request, Open):
            self._known = model_and_file(request.model)
            return Fitted()
        if isinstance(request, Fit):
            return Fitted(self._fit(request))
        if isinstance(request, AskRoom):
            return Fitted(_room(request))
        give_back(torch.device(request.device))
        return Fitted()

    def _fit(self, request: Fit) -> Any:
        assert self._known is not None
        os.chdir(request.folder)
        if request.terms is not None:
            self._terms = None
            self._terms = _terms(request.terms, self.model)
        assert self._terms is not None
        with beside_others() if request.shared else nullcontext():
            return self._terms.fitted(
                request.subject,
                self._known,
                self._terms.detector or self._detector,
                self._step if request.watched else None,
            )

    def _step(self, progress: Progress) -> None:
        send(self._connection, packed(Step(progress)))


def _terms(content: bytes, model: FaceModel | None) -> Terms:
    try:
        return opened(content, model)
    except Exception as error:
        raise TypeError(
            f"finish, detector, networks or embedding cannot be opened in another process ({error}); functions "
            "and classes must stand in a module that it can import"
        ) from error


def _room(request: AskRoom) -> Room:
    if not (request.begin or torch.cuda.is_initialized()):
        return Room()
    device = torch.device(request.device)
    free, total = torch.cuda.mem_get_info(device)
    return Room(torch.cuda.memory_reserved(device) + CONTEXT, free, total)


def failure(error: Exception, model: FaceModel | None) -> Failed:
    """The exception as it can be sent, with its type wherever that survives."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    release_frames(error)
    why: object = ""
    for cause in dict.fromkeys((error.__cause__, None)):
        try:
            sent = Failed(error, cause, trace)
            back = opened(packed(sent, model), model)
            if type(back.error) is type(error) and str(back.error) == str(error):
                return sent
            why = "it is another one after it"
        except Exception as found:
            why = found
    name = type(error).__name__
    text = f"{name}: {error} (a {name} that cannot be sent from its process: {why})"
    return Failed(UnfinishedError(text), None, trace)


def _sendable(answer: Fitted | Failed, model: FaceModel | None) -> Parcel:
    """The answer packed, or that it cannot be."""
    try:
        return packed(answer, model)
    except Exception as error:
        text = f"the subject was fitted, but what `finish` returned cannot be sent from its process: {error}"
        return packed(Failed(UnfinishedError(text), None, ""))
