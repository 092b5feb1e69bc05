"""Landmark detectors of a batch: MediaPipe's belongs to one thread, so every worker makes its own, once; a
caller's own is asked by one worker at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.licensing import detector_part
from hrnfit.licences import Part
from hrnfit.observe.landmarks import LandmarkDetector, MediaPipeDetector
from hrnfit.observe.observation import Landmarks


def own_detector(given: LandmarkDetector | None) -> Callable[[], LandmarkDetector]:
    """A function that gives each worker what it shall detect with."""
    if given is None:
        return _MadeWhenAsked
    shared = _OneAtATime(given, detector_part(given))
    return lambda: shared


@dataclass
class _MadeWhenAsked:
    """MediaPipe's detector, made for the first photograph without landmarks."""

    part: Part = field(default_factory=lambda: detector_part(None))
    _made: MediaPipeDetector | None = None

    def detect(self, image: Float[Tensor, "H W 3"]) -> Landmarks | None:
        if self._made is None:
            self._made = MediaPipeDetector()
        return self._made.detect(image)


@dataclass(frozen=True)
class _OneAtATime:
    """A detector behind a lock."""

    detector: LandmarkDetector
    part: Part
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def detect(self, image: Float[Tensor, "H W 3"]) -> Landmarks | None:
        with self._lock:
            return self.detector.detect(image)
