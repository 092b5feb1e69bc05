"""The coefficient problem as a function of tensors: the same equations and the same solve as the host's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hrnfit.fit.coefficient_stage import CoefficientSettings, _host_round, _Problem
from hrnfit.fit.held_landmarks import HeldLandmarks, SumOfProblems
from hrnfit.fit.landmark_problem import LandmarkStart
from hrnfit.fit.mirror import (
    Linearised,
    MirrorTied,
    mirror_matrix,
    mirror_scene,
    mirrored_expressions,
    with_mirror,
)
from hrnfit.fit.queued_coefficients import packed_problem, queued_round, unknowns_of
from hrnfit.fit.queued_skin import skin_equations
from hrnfit.fit.scene import Scene
from hrnfit.geometry import device_kernels
from hrnfit.solve.block import Layout
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.state import FaceState
from tests.fit.small_scene import truth_scene
from tests.fit.test_map_stage import own_frames

SETTINGS = CoefficientSettings(size=96, texels=32, blur=1.5, offset=0.02, steps=5, rounds=2)
FREE = ("identity", "expression", "pose", "log_focal")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def start(apart: bool, dtype: torch.dtype = torch.float64) -> tuple[Scene, FaceState]:
    """Away from the truth; `apart` makes each view its own frame, at different faces."""
    scene, state = truth_scene(dtype)
    if apart:
        state, sharing = own_frames(state)
        scene = replace(scene, sharing=sharing)
        state = state.replace(expression=state.expression + torch.tensor([[0.0], [0.1], [0.2]]))
    return scene, state.replace(identity=state.identity + 0.3, pose=state.pose + 0.01)


def leaves_of(state: FaceState, free: tuple[str, ...]) -> dict[str, Tensor]:
    leaves = {name: getattr(state, name).double() for name in free}
    if "expression" in leaves:
        leaves["expression"] = leaves["expression"].clamp(0.0, 1.0)
    return leaves


def agree(problem: Linearised, packed: Any, leaves: dict[str, Tensor]) -> None:
    theirs = problem.linearize(leaves)
    energy, hessian, gradient = packed.linearize(Layout.of(leaves).pack(leaves), *packed.constants)
    assert float(energy) == pytest.approx(float(theirs.energy), rel=1e-9)
    # the pose that a state stands at is orthonormal in float32 only
    for ours, other in ((hessian, theirs.hessian), (gradient, theirs.gradient)):
        assert torch.allclose(ours, other, rtol=1e-6, atol=1e-7 * float(other.abs().max()))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    "free", [FREE, ("identity", "pose"), ("expression", "log_focal"), ("pose",)]
)
def test_the_equations_of_skin_and_priors(free, apart):
    scene, state = start(apart)
    leaves = leaves_of(state, free)
    p = _Problem(scene, state, free, SETTINGS, None)
    p.refresh(leaves)
    agree(p, packed_problem(p.round(), unknowns_of(p.round(), leaves, None), (), {}), leaves)


@pytest.mark.parametrize("free", [FREE, ("identity", "pose")])
def test_the_equations_of_mirror_images_and_landmarks(free):
    scene, state = start(True)
    leaves = leaves_of(state, free)
    swap = mirrored_expressions(scene.model.expression_names)
    doubled, both = mirror_scene(scene, state)
    p = _Problem(doubled, both, free, SETTINGS, None)
    p.refresh(with_mirror(leaves, swap))
    held = HeldLandmarks(scene, state, free, LandmarkStart(jaw="surface"), 0.5)
    held.refresh(leaves)
    unknowns = unknowns_of(p.round(), leaves, swap)
    packed = packed_problem(p.round(), unknowns, held.blocks, held.fixed)
    agree(SumOfProblems((MirrorTied(p, swap), held)), packed, leaves)


def test_kernels_look_at_the_skin_as_torch_does(monkeypatch):
    """In the interpreter."""
    launched = pytest.importorskip("hrnfit.geometry.launched", reason="Triton is not installed")
    if not launched.INTERPRETED:
        pytest.skip("kernels are compiled in this process")
    scene, state = start(True, torch.float32)
    p = _Problem(scene, state, FREE, SETTINGS, None)
    leaves = leaves_of(state, FREE)
    p.refresh(leaves)
    now = p.round()
    given = (now.plan, now.constants, *leaves.values())
    theirs = skin_equations(*given)
    monkeypatch.setattr(device_kernels, "DEVICES", frozenset({"cuda", "cpu"}))
    ours = skin_equations(*given)
    torch.testing.assert_close(ours.energy, theirs.energy, rtol=1e-5, atol=0)
    for own, other in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_the_matrix_of_the_mirror():
    _, state = start(True)
    leaves = leaves_of(state, FREE)
    swap = mirrored_expressions(("smile_L", "smile_R", "neck_y"))
    own, both = Layout.of(leaves), with_mirror(leaves, swap)
    expected = Layout.of(both).pack(both)
    assert torch.equal(mirror_matrix(own, swap) @ own.pack(leaves), expected)


def rounds(device: str, free: tuple[str, ...], count: int = 2) -> list[Any]:
    """Solutions of the host's rounds, and of the queued ones on a device, each from where the last
    ended."""
    solver = LevenbergMarquardt(max_steps=6, tolerance=1e-4)
    scene, state = start(False, torch.float32)
    bounds = {"expression": (0.0, 1.0)} if "expression" in free else {}
    found = []
    for kind in (_host_round, queued_round):
        if kind is queued_round and device != "cpu":
            scene, state = on_device(scene, state, device)
        p = _Problem(scene, state, free, SETTINGS, None)
        solve, leaves = kind(solver, p, None, None, bounds), leaves_of(state, free)
        for _ in range(count):
            solution = solve(leaves)
            leaves = solution.leaves
        found.append(solution)
    return found


def on_device(scene: Scene, state: FaceState, device: str) -> tuple[Scene, FaceState]:
    from hrnfit.render.backend import rasterizer

    there = torch.device(device)
    moved = replace(
        scene,
        model=scene.model.to(device),
        rasterizer=rasterizer("auto", there),
        device=there,
        _windows={},
        _sources=[],
    )
    return moved, state.to(device)


def same_end(host: Any, queued: Any) -> None:
    assert queued.outcome is host.outcome
    assert queued.energies[-1] == pytest.approx(host.energies[-1], rel=1e-4)
    for name, leaf in host.leaves.items():
        assert torch.allclose(queued.leaves[name].cpu(), leaf, atol=1e-3), name


def test_queued_rounds_end_where_the_host_does():
    same_end(*rounds("cpu", ("identity", "expression", "pose")))


@needs_gpu
def test_a_gpu_ends_where_the_host_does():
    same_end(*rounds("cuda", ("identity", "expression", "pose")))
