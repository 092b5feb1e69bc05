"""Milliseconds of one Adam iteration with every term of the recipes at once: five views at 512 px, maps and light free.

Recorded on CUDA, and split by recording parts of it: forward; forward and backward; all. On a CPU the same
iteration is called plainly. Data are rendered (`hrnfit.synthetic`), so that any model can be measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_render import milliseconds
from hrnfit.energy.term import Weight
from hrnfit.fit.first_order_stage import RATES
from hrnfit.fit.model_constants import model_on
from hrnfit.fit.recorded_stage import StageTerms, named_energy
from hrnfit.fit.scene import Scene
from hrnfit.fit.terms import make_term
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View
from hrnfit.render.backend import rasterizer
from hrnfit.solve.first_order import Adam, _AdamStepper
from hrnfit.solve.loop import Loop
from hrnfit.solve.recorded import recording
from hrnfit.solve.recorded_adam import NamedEnergy, RecordedAdam
from hrnfit.solve.solver import Leaves
from hrnfit.state import FaceState, Sharing
from hrnfit.synthetic import Subject, synthetic_rig

YAWS = (-50.0, -25.0, 0.0, 25.0, 50.0)
SIZE = 512
FREE = ("deformation", "displacement", "light", "albedo_map")
TERMS = {
    "photometric": (1.0, "abs"),
    "landmark": (0.3, "cauchy"),
    "contour": (0.2, "huber"),
    "silhouette": (0.2, "abs"),
    "deformation_tv": (1.0, "square"),
    "deformation_bending": (3.0, "square"),
    "deformation_size": (1.0, "square"),
    "displacement_tv": (0.3, "abs"),
    "displacement_size": (0.2, "abs"),
    "rigidity": (1.0, "square"),
    "fold": (1.0, "square"),
    "light_colour": (0.1, "square"),
    "albedo_map_size": (0.1, "square"),
    "albedo_map_tv": (0.1, "abs"),
}
"""Weight and kernel: those of the recipes where they have the term."""


def scene(model: FaceModel, device: str, backend: str = "auto") -> tuple[Scene, FaceState]:
    """Five views of a synthetic subject, and a state near its truth."""
    made = synthetic_rig(model, yaws=YAWS, size=SIZE, supersample=1, subject=Subject())
    views = tuple(
        View(c.name, made.images[c.name], c, True, 0, made.landmarks[c.name], made.masks[c.name])
        for c in made.cameras
    )
    state = made.truth.state(model, len(views), albedo_map=512).to(device)
    seeded = torch.Generator().manual_seed(0)
    deformation = state.deformation + 0.3 * torch.randn(
        state.deformation.shape, generator=seeded
    ).to(device)
    displacement = state.displacement.new_zeros(len(views), 256, 256)
    rows = torch.zeros(len(views), dtype=torch.int64, device=device)
    sharing = Sharing(rows, rows, torch.arange(len(views), device=device))
    at = torch.device(device)
    found = Scene(views, model_on(model, at), sharing, rasterizer(backend, device), at)
    return found.framed(state), state.replace(deformation=deformation, displacement=displacement)


def energy(found: Scene, state: FaceState) -> NamedEnergy:
    """All terms, of the free leaves."""
    scheme = found.windows(SIZE).landmark_scheme
    terms = StageTerms(
        tuple(make_term(name, scheme, {}) for name in TERMS),
        {name: Weight(weight) for name, (weight, _) in TERMS.items()},
        {name: kernel for name, (_, kernel) in TERMS.items()},
    )
    return named_energy(found, state, FREE, terms, SIZE, "fine")


def measure(model: FaceModel, device: str = "cuda", backend: str = "auto") -> dict[str, Any]:
    """Milliseconds of the iteration and of its parts, its launches, and the seconds that recording took."""
    found, state = scene(model, device, backend)
    named = energy(found, state)
    leaves = {name: getattr(state, name) for name in FREE}
    adam = Adam({name: RATES[name] for name in FREE}, loop=Loop(steps=50))
    if device == "cpu":
        stepper = _AdamStepper(adam)
        stepper.begin({n: x.clone().requires_grad_() for n, x in leaves.items()}, 1.0)
        stepper.advance(named, 0.0)
        return {"iteration": round(_seconds(lambda: stepper.advance(named, 0.0)) * 1e3, 1)}
    began = time.perf_counter()
    recorded = RecordedAdam(adam._schedule_of(leaves), named)
    recorded.begin(leaves, 1.0)
    recorded.advance(named, 0.0)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    parts = {name: _part(named, leaves, name == "backward") for name in ("forward", "backward")}
    ms = {name: milliseconds(part) for name, part in parts.items()}
    ms["iteration"] = milliseconds(lambda: recorded.advance(named, 0.0))
    return {
        "iteration": round(ms["iteration"], 3),
        "forward": round(ms["forward"], 3),
        "backward": round(ms["backward"] - ms["forward"], 3),
        "update": round(ms["iteration"] - ms["backward"], 3),
        "launches": launches(lambda: recorded.advance(named, 0.0)),
        "recording": round(seconds, 2),
        "unit": "ms, recording s",
        "backend": type(found.rasterizer).__name__,
    }


def launches(work: Callable[[], Any]) -> int:
    """Kernels and copies that the device runs."""
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    return sum(event.device_type.name == "CUDA" for event in profile.events() or [])


def _part(named: NamedEnergy, leaves: Leaves, backward: bool) -> Callable[[], Any]:
    """Replays the energy, with its gradient if asked for."""
    count, given = len(leaves), tuple(named.inputs)

    def part(*buffers: Tensor) -> tuple[Tensor, ...]:
        own = {
            n: x.detach().requires_grad_(backward) for n, x in zip(leaves, buffers, strict=False)
        }
        total, _ = named.function(own, dict(zip(given, buffers[count:], strict=True)))
        return torch.autograd.grad(total, list(own.values())) if backward else (total,)

    key = ("part", backward, named.key)
    return recording(key, part, (*leaves.values(), *named.inputs.values())).again


def _seconds(work: Callable[[], Any], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[runs // 2]
