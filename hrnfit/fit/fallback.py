"""A stage for which a GPU has no room: tried again with everything that is merely kept given back, then on the CPU.

The result is the CPU's, which agrees with the GPU's to 0.02 mm in the median; it takes longer. Beside other fits
on the same GPU nothing is tried: their memory comes free when they end.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

import torch

from hrnfit.fit.model_constants import model_on
from hrnfit.fit.out_of_memory import is_out_of_memory, release_frames
from hrnfit.fit.scene import Scene
from hrnfit.render.backend import rasterizer
from hrnfit.solve.recorded import forget_recordings
from hrnfit.solve.solver import Solution
from hrnfit.state import FaceState
from hrnfit.tree import map_tensors

Solve = Callable[[Scene, FaceState], tuple[FaceState, Solution]]


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
    """What `solve` gives, and where it did if not on the scene's device: `on the CPU`."""
    found = _tried(solve, scene, state)
    if found is None:
        give_back(scene.device)
        found = _tried(solve, scene, state)
    if found is not None:
        return *found, ""
    give_back(scene.device)
    solved, solution = solve(on_the_cpu(scene).framed(state.to("cpu")), state.to("cpu"))
    return solved.to(scene.device), solution, "on the CPU"


def _tried(solve: Solve, scene: Scene, state: FaceState) -> tuple[FaceState, Solution] | None:
    """None when the GPU has no room."""
    try:
        return solve(scene, state)
    except Exception as error:
        if scene.device.type == "cpu" or not alone() or not is_out_of_memory(error):
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
