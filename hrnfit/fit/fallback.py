"""Work for which a GPU has no room, tried again: with everything that is merely kept given back, then without
recordings and in small pieces, last on the CPU.

A rig of nine views at 1024 px takes 4.0 GB at its peak, without recordings and in small pieces 1.6; one of five at 512 px then
takes 1.0 s instead of 0.3 (one H100). In small pieces sums run in another order and nothing else changes; on the CPU a
rig ends 0.003 mm from the GPU's result, one photograph 0.07 (medians; docs/performance.md). Beside other fits on the
same GPU nothing is tried: their memory comes free when they end.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import torch

from hrnfit.energy.pieces import in_small_pieces
from hrnfit.fit.model_constants import model_on
from hrnfit.fit.out_of_memory import is_out_of_memory, release_frames
from hrnfit.fit.scene import Scene
from hrnfit.render.backend import rasterizer
from hrnfit.solve.recorded import forget_recordings, without_recording
from hrnfit.solve.solver import Solution
from hrnfit.state import FaceState
from hrnfit.tree import map_tensors

Solve = Callable[[Scene, FaceState], tuple[FaceState, Solution]]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Attempt(Generic[Value]):
    """What an attempt gave, and how it was made."""

    value: Value
    how: str
    """`in small pieces`, or empty: as usual."""


class _Beside(threading.local):
    others = False


_beside = _Beside()


@contextmanager
def beside_others() -> Generator[None]:
    """Within it a lack of memory is an error at once: whoever runs several fits repeats this one alone."""
    before, _beside.others = _beside.others, True
    try:
        yield
    finally:
        _beside.others = before


def alone() -> bool:
    """Whether no other fit runs beside this thread's."""
    return not _beside.others


def solved_where_it_fits(
    solve: Solve, scene: Scene, state: FaceState
) -> tuple[FaceState, Solution, str]:
    """What `solve` gives, and how it did if not as usual: `in small pieces` or `on the CPU`."""
    work = partial(solve, scene, state)
    found = _tried(work, scene.device) or tried_again(work, scene.device)
    if found is not None:
        return *found.value, found.how
    give_back(scene.device)
    solved, solution = solve(on_the_cpu(scene).framed(state.to("cpu")), state.to("cpu"))
    return solved.to(scene.device), solution, "on the CPU"


def tried_again(work: Callable[[], Value], device: torch.device) -> Attempt[Value] | None:
    """What the work gives with more room on the device; None where that has too little for it however done."""
    give_back(device)
    found = _tried(work, device)
    if found is None:
        give_back(device)
        with without_recording(), in_small_pieces():
            found = _tried(work, device, "in small pieces")
    return found


def _tried(work: Callable[[], Value], device: torch.device, how: str = "") -> Attempt[Value] | None:
    """None when the GPU has no room."""
    try:
        return Attempt(work(), how)
    except Exception as error:
        if device.type == "cpu" or not alone() or not is_out_of_memory(error):
            raise
        release_frames(error)
        return None


def give_back(device: torch.device) -> None:
    """Forget what is kept for later fits, and let go of the memory."""
    forget_recordings()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def on_the_cpu(scene: Scene) -> Scene:
    """The scene with its constants on the CPU, not yet framed."""
    cpu = torch.device("cpu")
    views, sharing, deretouched = map_tensors(
        lambda tensor: tensor.cpu(), (scene.views, scene.sharing, scene.deretouched)
    )
    embedding = scene.embedding
    if isinstance(embedding, torch.nn.Module):
        embedding = copy.deepcopy(embedding).to(cpu)
    moved = Scene(views, model_on(scene.model, cpu), sharing, rasterizer("cpu", cpu), cpu)
    return replace(moved, deretouched=deretouched, embedding=embedding)
