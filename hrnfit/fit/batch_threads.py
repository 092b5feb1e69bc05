"""A batch in threads of this process: one model, one copy of it on the device, a detector for each thread."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.fit.batch_terms import Known, Terms
from hrnfit.fit.batch_work import Fitter
from hrnfit.fit.capture import Capture, kind_of
from hrnfit.fit.memory import total_bytes, workers_that_fit
from hrnfit.fit.stages import Callback
from hrnfit.fit.workers import Crew
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.landmarks import LandmarkDetector

_READY: MutableMapping[FaceModel, set[tuple[str, ...]]] = WeakIdKeyDictionary()
"""Of each model: recipe, device and kind of captures that were fitted on a GPU, as long as the model lives."""


@dataclass(frozen=True, eq=False)
class InThreads:
    """A `Place`: the threads of a crew fit, on the device."""

    terms: Terms
    known: Known
    device: torch.device
    detector: Callable[[], LandmarkDetector]
    """Gives a worker the detector that it may use."""
    watched: bool
    given: int | None = None
    """Workers that the caller asked for."""

    @property
    def ready(self) -> set[tuple[str, ...]]:
        """Kinds of which one was fitted before."""
        return _READY.setdefault(self.known[0], set())

    def kind(self, subject: Capture) -> tuple[str, ...] | None:
        """On a GPU, what a first fit alone makes ready: kernels are compiled and what belongs to the model is there
        before two workers ask for it."""
        if self.device.type == "cpu":
            return None
        recipe = self.terms.recipe.text if self.terms.recipe is not None else ""
        return (recipe, repr(self.terms.overrides), str(self.device), kind_of(subject))

    def workers(self, subjects: int, needed: Callable[[int | None], int]) -> int:
        """Those that were asked for, or as many as the memory allows."""
        if self.given is not None:
            return self.given
        return workers_that_fit(self.device, subjects, needed(total_bytes(self.device)))

    def crowded(self, workers: int) -> bool:
        """Whether memory may be short only because of others."""
        return workers > 1

    def fitter(self, crew: Crew, shared: bool) -> Fitter:
        """What one thread fits with."""
        detector = self.detector()

        def fitted(subject: Capture, step: Callback | None) -> Any:
            return self.terms.fitted(subject, self.known, detector, step)

        return fitted
