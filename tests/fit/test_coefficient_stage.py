"""Coefficients and poses from shared skin: derivatives, priors, bounds, and the optimum of Theseus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hrnfit.fit.coefficient_stage import CoefficientSettings, _Problem, solve_coefficients
from hrnfit.solve.block import Layout, QuadraticBlock
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt
from hrnfit.state import FaceState
from tests.fit.small_scene import truth_scene
from tests.fit.test_map_stage import own_frames

SETTINGS = CoefficientSettings(size=96, texels=48, blur=1.5, offset=0.0, steps=8, rounds=2)
FREE = ("identity", "expression", "pose", "log_focal")


def problem(free: tuple[str, ...] = FREE, **changes: Any) -> tuple[_Problem, dict[str, Tensor]]:
    """Float64, each view its own frame, away from the truth."""
    scene, state = truth_scene(torch.float64)
    state, sharing = own_frames(state)
    state = state.replace(identity=state.identity + 0.3)
    scene = replace(scene, sharing=sharing)
    p = _Problem(scene, state, free, replace(SETTINGS, **changes), None)
    return p, {name: getattr(state, name) for name in free}


@pytest.mark.parametrize("name", FREE)
def test_columns_are_the_change_of_the_colours(name):
    p, leaves = problem(blur=2.0)
    look = p._look(leaves)
    layout = Layout.of(leaves)
    rows = torch.arange(look.x_cam.shape[1])
    shapes = p._shapes(p.state_with(leaves), rows)
    A, place = p._columns(1, rows, leaves, layout, look, shapes)
    own = layout.columns((name, None if name == "identity" else 1))
    if name == "log_focal":
        own = slice(layout.offsets[name] + 1, layout.offsets[name] + 2)
    columns = A.view(-1, 3, A.shape[-1])[..., [place.index(k) for k in range(own.start, own.stop)]]
    for k in range(columns.shape[-1]):
        h = 1e-4 if name == "log_focal" or (name == "pose" and k < 3) else 0.01
        colours = []
        for sign in (1, -1):
            packed = layout.pack(leaves)
            packed[own.start + k] += sign * h
            colours.append(p._look(layout.unpack(packed)).seen.colour[1])
        w = look.agreed.weight[1, :, None].sqrt()
        ours = (w * columns[..., k]).flatten()
        theirs = (w * (colours[0] - colours[1]) / (2 * h)).flatten()
        assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.97, k
        assert float(ours.norm() / theirs.norm()) == pytest.approx(1.0, abs=0.06), k


def test_normal_equations_agree_with_a_dense_reference():
    p, leaves = problem()
    equations = p.linearize(leaves)
    layout = Layout.of(leaves)
    A, e = dense(p, leaves, layout)
    precision = torch.diag(layout.pack(p._precisions))
    assert torch.allclose(equations.hessian - precision, A.mT @ A, rtol=1e-6, atol=1e-6)
    off = layout.pack(leaves) - layout.pack(p._means)
    assert torch.allclose(equations.gradient - precision @ off, A.mT @ e, rtol=1e-6, atol=1e-6)
    assert float(equations.energy) == pytest.approx(float(p.energy(leaves)))


def dense(p: _Problem, leaves: dict[str, Tensor], layout: Layout) -> tuple[Tensor, Tensor]:
    """All rows at once, weights held, the weighted mean of the views taken out."""
    look = p._look(leaves)
    agreed = look.agreed
    views, texels = agreed.weight.shape
    A = torch.zeros(views, texels, 3, layout.size, dtype=torch.float64)
    rows = torch.arange(texels)
    shapes = p._shapes(p.state_with(leaves), rows)
    for v in range(views):
        own, place = p._columns(v, rows, leaves, layout, look, shapes)
        A[v, ..., place] = own.view(texels, 3, -1)
    w = (agreed.weight * p._settings.evidence / agreed.seen)[..., None, None]
    A = A - (w * A).sum(0) / w.sum(0).clamp_min(1e-12)
    root = w.sqrt()
    return (root * A).flatten(0, 2), (root[..., 0] * agreed.residual).flatten()


@dataclass(frozen=True)
class DenseSkin:
    """The data term as one dense block, for a solver that knows nothing of its structure.

    e = r / sqrt(1 + |r|^2 / s^2) has the Geman-McClure energy; A makes A^T e its exact gradient.
    """

    problem: _Problem
    slots: tuple[tuple[str, int | None], ...] = (("identity", None), ("pose", 0))

    def _leaves(self, values: tuple[Tensor, ...]) -> dict[str, Tensor]:
        identity, pose = (v.detach().reshape(-1) for v in values)
        return {"identity": identity, "pose": pose[None]}

    def residual(self, *values: Tensor) -> Tensor:
        return self.linearize(*values)[0]

    def linearize(self, *values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        leaves = self._leaves(values)
        agreed = self.problem._look(leaves).agreed
        scale, evidence = self.problem._settings.kernel_scale, self.problem._settings.evidence
        robust = 1.0 + agreed.residual.square().sum(-1) / scale**2
        plain = agreed.weight * robust.square() * (evidence / agreed.seen)
        e = ((plain / robust).sqrt()[..., None] * agreed.residual).flatten()
        A, _ = dense(self.problem, leaves, Layout.of(leaves))
        A = A * robust.rsqrt()[..., None].expand(*robust.shape, 3).reshape(-1, 1)
        batch = values[0].shape[:-1]
        parts = (A[:, : leaves["identity"].numel()], A[:, leaves["identity"].numel() :])
        return e.expand(*batch, -1), tuple(part.expand(*batch, -1, -1) for part in parts)


def test_energy_does_not_fall_by_hiding_skin():
    """A head that backs away from where it was last looked at stays as visible as it was."""
    p, leaves = problem(("identity", "pose"))
    p.refresh(leaves)
    seen = float(p._look(leaves).agreed.seen)
    away = {**leaves, "pose": leaves["pose"] + torch.tensor([[0, 0, 0, 0, 0, -30.0]]).double()}
    assert float(p._look(away).agreed.seen) == pytest.approx(seen)


def test_same_optimum_as_theseus():
    pytest.importorskip("theseus")
    from hrnfit.solve.theseus_lm import TheseusLM

    scene, state = truth_scene(torch.float64)
    start = state.replace(identity=state.identity + 0.2)
    free = ("identity", "pose")
    scene = replace(scene)
    p = _Problem(scene, start, free, replace(SETTINGS, texels=32), None)
    leaves = {name: getattr(start, name) for name in free}
    ours = LevenbergMarquardt(max_steps=20, tolerance=1e-6).minimize_function(
        p.linearize, p.energy, leaves
    )
    priors = [
        QuadraticBlock(slot, p._means[slot[0]].reshape(-1), p._precisions[slot[0]].reshape(-1).rsqrt())
        for slot in DenseSkin.slots
    ]  # fmt: skip
    theirs = TheseusLM(max_steps=20, tolerance=1e-6).minimize([DenseSkin(p), *priors], leaves)
    assert ours.energies[-1] < 0.9 * ours.energies[0]
    # Theseus ends after three refused steps in a row, a little early: 0.03 % above our energy
    assert float(p.energy(theirs.leaves)) == pytest.approx(ours.energies[-1], rel=1e-3)
    assert theirs.energies[-1] == pytest.approx(float(p.energy(theirs.leaves)), rel=1e-5)
    for name, leaf in ours.leaves.items():
        moved = float((leaf - leaves[name]).abs().max())
        assert torch.allclose(theirs.leaves[name], leaf, atol=0.01 * moved), name


def moved_start() -> tuple[Any, FaceState, FaceState]:
    """The scene, its truth, and a start whose identity is off by a third of a deviation."""
    scene, state = truth_scene()
    step = 0.35 * torch.tensor([1.0, -1.0, 1.0, -1.0])
    return scene, state, state.replace(identity=state.identity + step)


def test_identity_comes_back():
    scene, truth, start = moved_start()
    settings = replace(SETTINGS, size=128, texels=64, blur=0.7, evidence=3e5)
    after, solution = solve_coefficients(scene, start, ("identity",), settings)
    assert (after.identity - truth.identity).abs().max() < 0.12
    assert solution.energies[-1] < solution.energies[0]
    assert after.pose is start.pose
    assert after.identity.dtype == start.identity.dtype


def test_activations_stay_in_their_bounds():
    scene, _, start = moved_start()
    far = start.replace(expression=torch.tensor([[0.0, 1.0, -0.2]]))
    after, _ = solve_coefficients(scene, far, ("expression",), replace(SETTINGS, rounds=1))
    assert after.expression.min() >= 0.0
    assert after.expression.max() <= 1.0


def test_without_evidence_the_priors_decide():
    """The model's prior (deviation 1 around 0) and that of the start (0.5 around it): 4 against 1."""
    scene, _, start = moved_start()
    settings = replace(SETTINGS, evidence=1e-9, rounds=1)
    after, _ = solve_coefficients(scene, start, ("identity",), settings)
    assert torch.allclose(after.identity, 0.8 * start.identity, atol=1e-3)


def test_a_known_focal_length_stays():
    scene, _, start = moved_start()
    free = ("identity", "log_focal")
    settings = replace(SETTINGS, rounds=1)
    held, _ = solve_coefficients(scene, start, free, settings, torch.full((3,), 1e-5))
    assert held.log_focal.abs().max() < 1e-3


def test_brightness_of_a_view_is_taken_up_by_the_offset():
    scene, truth, start = moved_start()
    views = (replace(scene.views[0], image=0.7 * scene.views[0].image), *scene.views[1:])
    dimmed = replace(scene, views=views, _windows={})
    after, _ = solve_coefficients(dimmed, start, ("identity",), replace(SETTINGS, offset=0.1))
    assert (after.identity - truth.identity).abs().max() < 0.2
