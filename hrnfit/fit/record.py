"""What a result says of how it was made, and the result made with it."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

import hrnfit
from hrnfit.fit.appearance import fit_appearance
from hrnfit.fit.assemble import assemble
from hrnfit.fit.fallback import Attempt, alone, give_back, on_the_cpu, tried_again
from hrnfit.fit.input_hashes import input_hashes
from hrnfit.fit.licensing import detector_parts, licence_record, solver_parts
from hrnfit.fit.out_of_memory import OutOfMemoryError, Shortage, is_out_of_memory
from hrnfit.fit.prepare import Prepared
from hrnfit.fit.recipe import Recipe
from hrnfit.fit.result import FitResult, StageReport
from hrnfit.fit.stages import Done
from hrnfit.licences import Part
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.load import Images
from hrnfit.solve.solver import Outcome
from hrnfit.state import FaceState


@dataclass(frozen=True, eq=False)
class Record:
    """One fit as it was asked for, known before its first step."""

    recipe: Recipe
    device: torch.device
    began: float
    """`time.perf_counter()` when it began, s."""
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]
    """Without licences and start."""
    parts: tuple[Part, ...]
    """Terms of what is surely used; detector and solvers come with the result."""
    commercial: bool

    def result(self, begun: Prepared, done: Done) -> FitResult:
        """What the user gets from where the stages ended; ValueError when that is NaN."""
        state, scene = done.state, begun.scene.framed(done.state)
        with torch.no_grad():
            if self.recipe.appearance == "fit" or not begun.by_networks:
                state = fit_appearance(scene, state)
            if not _finite(state):
                raise ValueError(
                    "the fit ended in NaN; check the cameras (hrnfit cameras FILE) and the images"
                )
            return assemble(
                scene,
                state,
                (_start_report(begun.started["by"], begun.seconds), *done.reports),
                time.perf_counter() - self.began,
                (*self.warnings, *begun.warnings, *done.warnings),
                {**self.provenance, **self._licences(begun, done), "start": begun.started},
            )

    def rescued(
        self, error: Exception, begun: Prepared | None, done: Done | None, needed: int
    ) -> FitResult:
        """What can be made of a fit that ran out of memory: its result when only the last step is missing.

        Otherwise raises OutOfMemoryError, with the stages that were finished as a result of their own.
        """
        during = "the start" if done is None else done.running or "the assembly of the result"
        shortage = Shortage.of(error, self.device, during, needed)
        kept = None
        if begun is not None and done is not None and alone():
            if done.reports or not done.running:
                kept = self._assembled_again(begun, done, during)
            if kept is not None and not done.running:
                return kept
        raise OutOfMemoryError(shortage.message(kept is not None), kept) from error

    def _assembled_again(self, begun: Prepared, done: Done, during: str) -> FitResult | None:
        """The result of the finished stages, on the device when it has the room after all, else on the CPU; None
        when even that has no memory."""
        found = None
        if self.device.type != "cpu":
            found = tried_again(partial(self.result, begun, done), self.device)
        try:
            if found is None:
                give_back(self.device)
                there = replace(begun, scene=on_the_cpu(begun.scene))
                ended = replace(done, state=done.state.to("cpu"))
                found = Attempt(self.result(there, ended), "on the CPU")
        except Exception as again:
            if not is_out_of_memory(again):
                raise
            return None
        return _warned(found, done, during)

    def _licences(self, begun: Prepared, done: Done) -> dict[str, Any]:
        used = (*detector_parts(begun.detector), *solver_parts(self.recipe, done.reports))
        return licence_record((*self.parts, *used), self.commercial)


def _warned(found: Attempt[FitResult], done: Done, during: str) -> FitResult:
    """The result, saying what is missing, or how it was assembled if not as usual."""
    if not done.running and not found.how:
        return found.value
    said = "what comes from there on is missing" if done.running else f"it was done {found.how}"
    told = f"memory ran out during {during}: {said}"
    return replace(found.value, warnings=(*found.value.warnings, told))


def _finite(state: FaceState) -> bool:
    # one answer for all leaves: on a GPU each is a wait
    return bool(torch.stack([torch.isfinite(leaf).all() for leaf in vars(state).values()]).all())


def _start_report(by: str, seconds: float) -> StageReport:
    """The start as a stage of its own, so that its time is seen; `by`: landmarks, networks or result."""
    level = {"landmarks": "coarse", "networks": "mid", "result": "fine"}[by]
    return StageReport(by, level, Outcome.CONVERGED, 1, seconds)


def provenance(
    recipe: Recipe,
    model: FaceModel,
    images: Images,
    device: torch.device,
    file: Mapping[str, str],
) -> dict[str, Any]:
    """What is needed to say how a result was made."""
    info = model.info
    return {
        "versions": {
            "hrnfit": hrnfit.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "recipe": recipe.text,
        "inputs": input_hashes(images),
        "model": {
            "name": info.name,
            "licence": info.licence,
            "commercial": info.commercial,
            "source": info.source,
            **file,
        },
        "device": str(device),
        "command": " ".join(sys.argv),
    }
