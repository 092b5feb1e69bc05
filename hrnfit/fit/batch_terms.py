"""What is the same for all subjects of a batch, and how one of them is fitted by it, in a thread or a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hrnfit.energy.perceptual import Embedding
from hrnfit.fit.capture import Capture
from hrnfit.fit.fit import fit
from hrnfit.fit.recipe import Recipe
from hrnfit.fit.result import FitResult
from hrnfit.fit.stages import Callback
from hrnfit.infer.networks import Networks
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.landmarks import LandmarkDetector

Finish = Callable[[str, FitResult], Any]
"""What becomes of a finished result: the subject's name and the result in, what the list shall hold out."""

Known = tuple[FaceModel, Mapping[str, str]]
"""The model as every result holds it, and what its provenance says of the file."""


class UnfinishedError(RuntimeError):
    """A subject that was fitted, but whose result could not be saved or was refused by `finish`; or whose exception
    could not be brought from the process where it was raised."""

    result: FitResult | None
    """None when there is none, or it was left in the process."""

    def __init__(self, message: str, result: FitResult | None = None) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Terms:
    """Arguments of `fit_batch` that hold for each subject."""

    device: str
    recipe: Recipe | None = None
    overrides: Mapping[str, object] | None = None
    max_size: int | None = None
    commercial: bool = False
    networks: Networks | None = None
    embedding: Embedding | None = None
    detector: LandmarkDetector | None = None
    """None: each worker makes its own."""
    finish: Finish | None = None

    def fitted(
        self, subject: Capture, known: Known, detector: LandmarkDetector, step: Callback | None
    ) -> Any:
        """Fit one subject: what the list holds for it. Raises what the fit raises, and UnfinishedError."""
        result = fit(
            subject.images,
            subject.cams,
            masks=subject.masks,
            landmarks=subject.landmarks,
            frames=subject.frames,
            model=known[0],
            recipe=self.recipe,
            overrides=self.overrides,
            device=self.device,
            max_size=self.max_size,
            commercial=self.commercial,
            networks=self.networks,
            embedding=self.embedding,
            detector=detector,
            progress=step,
        )
        return self.finished(subject.name, result, known)

    def finished(self, name: str, result: FitResult, known: Known) -> Any:
        """What the list holds for a result."""
        face, file = known
        model = {**result.provenance["model"], **file}
        result = replace(result, model=face, provenance={**result.provenance, "model": model})
        if self.finish is None:
            return result
        try:
            return self.finish(name, result)
        except Exception as error:
            message = f"subject {name!r} was fitted, but {error}; it is in this error's `result`"
            raise UnfinishedError(message, result) from error


@dataclass(frozen=True)
class Saved:
    """A `Finish` that writes each result into a folder of its own; it can be sent to a process."""

    folder: Path

    def __call__(self, name: str, result: FitResult) -> Path:
        return result.save(self.folder / name)
