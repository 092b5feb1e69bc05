"""Coefficients from the mid surface: derivatives, a dense reference over frames, and what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hrnfit.fit.scene import Scene
from hrnfit.fit.surface_stage import SurfaceSettings, _Refit, second_view, solve_surface
from hrnfit.metrics import Surface
from hrnfit.solve.block import Layout
from hrnfit.solve.solver import Outcome
from hrnfit.state import FaceState
from tests.fit.small_scene import face, truth_scene
from tests.fit.test_map_stage import own_frames

SETTINGS = SurfaceSettings(size=96, texels=32, rounds=6, noise=0.05, gap=0.5)
FREE = SurfaceSettings.LEAVES


def problem(frames: bool = False) -> tuple[_Refit, dict[str, Tensor]]:
    """Away from the surface, with different frames where asked for."""
    scene, state = truth_scene()
    if frames:
        state, sharing = own_frames(state)
        shift = torch.tensor([0.0, 0.1, 0.2])[: len(state.expression), None]
        state = state.replace(expression=state.expression + shift)
        scene = replace(scene, sharing=sharing)
    p = _Refit(scene, state, SETTINGS)
    leaves = p.start()
    leaves["identity"] = leaves["identity"] + 0.2
    leaves["motion"] = leaves["motion"] + 0.01
    p.match(leaves, SETTINGS.noise)
    return p, leaves


def same_surface(scene: Scene, state: FaceState, identity: Tensor) -> FaceState:
    """Other coefficients, and the map that makes up for them vertex by vertex."""
    model = scene.model
    move = model.shape(state.identity, state.expression[0]) - model.shape(
        identity, state.expression[0]
    )
    operator = scene.operator(len(state.deformation))
    return state.replace(
        identity=identity, deformation=state.deformation + operator.fit_map(move, 1e-6)
    )


@pytest.mark.parametrize("frames", [False, True])
def test_gradient_is_the_slope_of_the_energy(frames):
    p, leaves = problem(frames)
    layout, gradient = Layout.of(leaves), p.linearize(leaves).gradient
    packed = layout.pack(leaves)
    for k in range(0, layout.size, 3):
        step = torch.zeros_like(packed)
        step[k] = 1e-6
        up, down = (p.energy(layout.unpack(packed + sign * step)) for sign in (1, -1))
        assert float(gradient[k]) == pytest.approx(float(up - down) / 2e-6, rel=1e-4, abs=1e-4)


def test_frames_share_one_gap():
    """The covariance of all residuals is gap for every pair of frames, and noise on the diagonal."""
    p, leaves = problem(frames=True)
    residual, layout = p._residual(leaves), Layout.of(leaves)
    frames, texels = residual.shape
    full = p._gap.repeat(frames, frames) + torch.diag(p._variance.repeat(frames))
    flat = residual.flatten()
    expected = 0.5 * flat @ torch.linalg.solve(full, flat) + p._prior(leaves)
    assert float(p.energy(leaves)) == pytest.approx(float(expected), rel=1e-8)
    J = p._columns(leaves, layout).flatten(0, 1)
    prior = p.linearize(leaves).hessian - J.T @ torch.linalg.solve(full, J)
    assert float((prior - torch.diag(prior.diagonal())).abs().max()) < 1e-6 * texels


def test_a_surface_that_the_model_explains_leaves_no_map():
    scene, state = truth_scene()
    bare = state.replace(deformation=torch.zeros_like(state.deformation))
    started = same_surface(scene, bare, bare.identity + 0.4)
    found, solution = solve_surface(scene, started, FREE, SETTINGS)
    assert solution.outcome is not Outcome.NON_FINITE
    assert torch.allclose(found.identity, bare.identity, atol=0.06)  # priors pull by half of that
    assert float(found.deformation.abs().mean()) < 0.2 * float(started.deformation.abs().mean())


def test_the_surface_stays_where_it_was():
    scene, state = truth_scene()
    started = same_surface(scene, state, state.identity + 0.4)
    found, _ = solve_surface(scene, started, FREE, SETTINGS)
    was, now = (scene.world(s)[0].double() for s in (started, found))
    distance = Surface(was, face().faces).nearest(now).distance
    assert float(distance.median()) < 0.02
    assert float(distance.quantile(0.95)) < 0.15


def test_smooth_gaps_do_not_pull_the_coefficients():
    """The deformation of the subject is smooth: taken for white noise it moves identity more."""
    scene, state = truth_scene()
    errors = {}
    for reach in (SETTINGS.reach, 0.01):
        found, _ = solve_surface(scene, state, FREE, replace(SETTINGS, reach=reach))
        errors[reach] = float((found.identity - state.identity).norm())
    assert errors[SETTINGS.reach] < 0.8 * errors[0.01]


def test_views_that_share_no_skin_change_nothing():
    scene, state = truth_scene()
    alone = replace(scene, views=scene.views[:1], boxes=scene.boxes[:1], _windows={})
    row = torch.zeros(1, dtype=torch.int64)
    alone = replace(alone, sharing=type(scene.sharing)(row, row, row))
    state = state.replace(camera=state.camera[:1], log_focal=state.log_focal[:1])
    found, solution = solve_surface(alone, state, FREE, SETTINGS)
    assert found is state
    assert solution.steps == 0


def test_leaves_are_free_together_or_not_at_all():
    scene, state = truth_scene()
    with pytest.raises(ValueError, match="free: the surface solver"):
        solve_surface(scene, state, ("identity",), SETTINGS)


def test_what_is_seen_from_the_side_is_hardly_believed():
    weight = torch.tensor([[1.0, 0.5, 0.0], [0.6, 0.1, 0.7], [0.2, 0.3, 0.0]])
    assert torch.allclose(second_view(weight), torch.tensor([0.36, 0.09, 0.0]))
    assert not second_view(weight[:1]).any()


def test_noise_of_a_texel_grows_where_it_is_seen_from_the_side():
    p, leaves = problem()
    p._matched = False
    p._belief = torch.ones_like(p._belief)
    p.match(leaves, 0.2)
    whole = p._variance
    p._matched = False
    p._belief[::2] = 0.25
    p.match(leaves, 0.2)
    assert torch.allclose(p._variance[::2], 4.0 * whole[::2])
    assert torch.allclose(p._variance[1::2], whole[1::2])
