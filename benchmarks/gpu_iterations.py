"""Milliseconds of one iteration of each kind of solver, as fits run them: five views at 512 px, ICT.

Adam with all terms of the recipes; Levenberg-Marquardt on the dense photometric residuals of coefficients and poses;
Gauss-Newton on the deformation map and on the displacement map, rejected attempts counted as iterations.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks import data, gpu_cases, gpu_iteration
from hrnfit.fit.coefficient_stage import CoefficientSettings, _Problem
from hrnfit.fit.map_on_device import _Attempts, _iteration
from hrnfit.fit.prepare import prepare
from hrnfit.fit.queued_coefficients import packed_problem, unknowns_of
from hrnfit.fit.recipe import Recipe, load_recipe
from hrnfit.fit.scene import Scene
from hrnfit.observe.landmarks import LandmarkDetector
from hrnfit.observe.load import load_views
from hrnfit.render.backend import rasterizer
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.state import FaceState

COEFFICIENTS = ("identity", "expression", "pose")


def measure(device: str, detector: LandmarkDetector) -> dict[str, float]:
    """Milliseconds by kind."""
    model = data.model_of("ict")
    adam = gpu_iteration.measure(model, device)
    parts = {f"Adam, all terms: {n}": adam[n] for n in ("iteration", "forward", "backward")}
    recipe = load_recipe("rig")
    scene, state, deviation = start(recipe, device, detector)
    out = {**parts, "Adam, all terms: launches": float(adam["launches"])}
    for texels in (128, 256):
        out[f"LM, dense photometric, {texels} texels a side"] = levenberg_marquardt(
            scene, state, texels
        )
    for name in ("skin-384", "skin-768-softer", "pores"):
        out[f"Gauss-Newton, {name}"] = gauss_newton(scene, state, recipe, name, deviation)
    return {name: round(value, 3) for name, value in out.items()}


def start(
    recipe: Recipe, device: str, detector: LandmarkDetector
) -> tuple[Scene, FaceState, torch.Tensor]:
    """Scene, state and prior on focal lengths where the stages of the rig begin."""
    case, where = gpu_cases.rig(), torch.device(device)
    views, _ = load_views(case.images, case.cameras, case.masks, None, None, None)
    with torch.no_grad():
        begun = prepare(
            views, data.model_of("ict"), recipe, rasterizer("auto", where), where, detector
        )
    return begun.scene, begun.state, begun.focal_deviation


@torch.no_grad()
def levenberg_marquardt(scene: Scene, state: FaceState, texels: int) -> float:
    """Of 100 identities, 53 expressions and a pose against windows of 512 px; refused trials belong to a step."""
    settings = CoefficientSettings(size=512, texels=texels)
    problem = _Problem(scene, state, COEFFICIENTS, settings, None)
    leaves = {name: getattr(state, name).double() for name in COEFFICIENTS}
    leaves["identity"] = leaves["identity"] + 0.3
    leaves["expression"] = leaves["expression"].clamp(0, 1)
    problem.refresh(leaves)
    round_ = problem.round()
    packed = packed_problem(round_, unknowns_of(round_, leaves, None), (), {})

    def seconds(steps: int) -> float:
        solver = LevenbergMarquardt(max_steps=steps, tolerance=-1.0)
        return solver.minimize_packed(packed, leaves, {"expression": (0.0, 1.0)}).seconds

    for steps in (1, 4):
        seconds(steps)
    few, many = (min(seconds(steps) for _ in range(10)) for steps in (1, 4))
    return 1e3 * (many - few) / 3


def gauss_newton(
    scene: Scene, state: FaceState, recipe: Recipe, name: str, deviation: torch.Tensor
) -> float:
    """Look, equations, solution and trial of one attempt of a stage, with the host's read of it."""
    (stage,) = (s for s in recipe.stages if s.name == name)
    settings: Any = stage.settings
    iteration, key = _iteration(scene, state, stage.free, settings, deviation)
    attempts = _Attempts(iteration, key, settings.slack)
    leaves = {n: getattr(state, n) for n in iteration.names}

    def attempt() -> float:
        began = time.perf_counter()
        attempts.begin(leaves)
        attempts.attempt(1e-3, 1.0)
        return time.perf_counter() - began

    for _ in range(3):
        attempt()
    return 1e3 * sorted(attempt() for _ in range(15))[7]
