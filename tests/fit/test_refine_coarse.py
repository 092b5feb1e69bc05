"""The coarse solve: it recovers a state, agrees between solvers, and its gradients are the true ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from hrnfit.fit.refine_coarse import CoarseProblem, solve_coarse
from hrnfit.fit.refine_settings import COARSE_LEAVES, CoarseSolve
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.deformation import deformation_operator
from hrnfit.model.linear import landmark_positions
from hrnfit.observe.observation import Landmarks, View
from hrnfit.solve.solver import Outcome
from hrnfit.state import FaceState
from tests.fit.jointed_scene import jointed_face, jointed_truth, jointed_views
from tests.fit.refine_scene import DOUBLE, D, direction, model, moved, two_views

SURFACE = CoarseSolve(jaw="surface", solver="own", tolerance=1e-10, max_steps=100)
H = 1e-5
LEAVES = ("identity", "expression", "pose", "deformation", "camera", "log_focal")
START = moved(1, 0.5)
ONES = {name: torch.ones((), **DOUBLE) for name in ("landmark", *COARSE_LEAVES)}
THEIRS = {
    "theseus": replace(SURFACE, solver="theseus", tolerance=1e-9),
    "unroll": replace(SURFACE, solver="theseus", backward="unroll"),
}


def solve(settings: CoarseSolve, state: FaceState, views=None, **weights: Tensor) -> FaceState:
    return solution_of(settings, state, views, **weights)[0]


def solution_of(settings, state, views=None, **weights):
    m = model()
    operator = deformation_operator(m.faces, m.uv, m.uv_faces, len(m.mean), D)
    offsets = operator(state.deformation)
    return solve_coarse(views or two_views(), m, state, offsets, settings, {**ONES, **weights})


def number(state: FaceState) -> Tensor:
    """A pattern over everything a landmark solve moves."""
    generator = torch.Generator().manual_seed(5)
    units = direction(0)
    parts = [
        (leaf * torch.randn(leaf.shape, generator=generator, **DOUBLE)).sum()
        / units[name].abs().mean()
        for name in COARSE_LEAVES
        for leaf in (getattr(state, name),)
    ]
    return torch.stack(parts).sum()


def test_a_head_that_was_moved_comes_back_to_its_landmarks():
    start = moved(1, 2.0, ("pose",))
    loose = replace(SURFACE, identity_deviation=3.0, evidence=1e4)
    after, solution = solution_of(loose, start)
    assert solution.outcome is Outcome.CONVERGED
    assert solution.energies[-1] < 0.05 * solution.energies[0]
    assert after.pose[0, :3].norm() < 0.3 * start.pose[0, :3].norm()
    assert torch.equal(after.log_focal, start.log_focal)  # calibrated


@pytest.mark.parametrize("name", ["theseus", "unroll"])
def test_solvers_agree(name):
    ours, theirs = (solve(s, START) for s in (SURFACE, THEIRS[name]))
    for leaf in COARSE_LEAVES:
        assert torch.allclose(getattr(ours, leaf), getattr(theirs, leaf), atol=1e-3), leaf


WEIGHTS = {f"{name} weight": name for name in ("landmark", "identity", "expression", "pose")}


@cache
def inputs() -> dict[str, Tensor]:
    """Leaves of the state and weights, by name."""
    leaves = {name: getattr(START, name) for name in LEAVES}
    return leaves | dict.fromkeys(WEIGHTS, torch.tensor(0.8, **DOUBLE))


def outcome(values: dict[str, Tensor]) -> Tensor:
    state = START.replace(**{name: values[name] for name in LEAVES})
    return number(solve(SURFACE, state, **{own: values[name] for name, own in WEIGHTS.items()}))


@cache
def gradients() -> dict[str, Tensor]:
    values = {name: value.clone().requires_grad_() for name, value in inputs().items()}
    found = torch.autograd.grad(outcome(values), [*values.values()])
    return dict(zip(values, found, strict=True))


@pytest.mark.parametrize("name", [*LEAVES, *WEIGHTS])
def test_gradients_in_the_state_that_came_in_and_in_the_weights(name):
    along = direction(4).get(name, torch.tensor(0.1, **DOUBLE))
    ahead, behind = ({**inputs(), name: inputs()[name] + s * H * along} for s in (1.0, -1.0))
    with torch.no_grad():
        expected = float(outcome(ahead) - outcome(behind)) / (2 * H)
    assert abs(expected) > 1e-3
    assert float((gradients()[name] * along).sum()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mode", ["theseus", "unroll"])
def test_gradients_through_theseus(mode):
    """In state and weights at once: both grow with t, in a direction of their own."""
    start, along = START, direction(4)

    def grown(t: Tensor) -> FaceState:
        leaves = {name: getattr(start, name) + t * along[name] for name in LEAVES}
        return solve(THEIRS[mode], start.replace(**leaves), landmark=1.0 + t, pose=1.0 - t)

    assert_slope(grown, torch.zeros((), **DOUBLE), torch.ones((), **DOUBLE), 1e-3)


def test_gradients_in_the_landmarks_themselves():
    marks = two_views()[0].landmarks

    def with_points(points: Tensor) -> FaceState:
        own = Landmarks(points, marks.confidence, marks.scheme)
        return solve(SURFACE, START, (replace(two_views()[0], landmarks=own), two_views()[1]))

    noise = torch.randn(68, 2, generator=torch.Generator().manual_seed(2), **DOUBLE)
    assert_slope(with_points, marks.points.double(), noise, 1e-3)


def test_gauss_newton_gradients_are_good_only_where_residuals_are_small():
    """Off by percents for points that miss by some mm under `square`; under `cauchy` by far more."""
    far = {kernel: _error_of_gauss_newton(kernel, START) for kernel in ("square", "cauchy")}
    near = _error_of_gauss_newton("square", moved(1, 0.05))
    assert near < 0.02
    assert 0.01 < far["square"] < 0.1
    assert far["cauchy"] > 0.1


def _error_of_gauss_newton(kernel: str, state: FaceState) -> float:
    """Relative, over all gradients in the expression that came in."""
    found = []
    for backward in ("implicit", "gauss_newton"):
        settings = replace(SURFACE, solver="theseus", backward=backward, kernel=kernel)
        leaf = state.expression.clone().requires_grad_()
        after = solve(settings, state.replace(expression=leaf))
        found.append(torch.autograd.grad(number(after), leaf)[0])
    return float((found[1] - found[0]).norm() / found[0].norm())


def test_an_unknown_focal_length_moves_within_its_prior():
    views = tuple(replace(view, camera_known=False) for view in two_views())
    after = solve(replace(SURFACE, focal_deviation=0.1), START, views)
    assert (after.log_focal - START.log_focal).abs().min() > 1e-4
    held = solve(replace(SURFACE, free=("identity", "pose")), START, views)
    assert torch.equal(held.log_focal, START.log_focal)
    assert torch.equal(held.expression, START.expression)
    assert not torch.equal(held.identity, START.identity)


def test_a_frame_without_landmarks_stays():
    """Two instants, the second seen by a view without landmarks: its row keeps value and gradient."""
    first, second = two_views()
    views = (first, replace(second, landmarks=None, frame=1))
    state = START
    expression = state.expression.repeat(2, 1).requires_grad_()
    start = state.replace(
        expression=expression,
        pose=state.pose.repeat(2, 1),
        pose_reference=state.pose_reference.repeat(2, 1, 1),
    )
    after = solve(SURFACE, start, views)
    assert torch.allclose(after.expression[1], expression[1], atol=1e-12)
    (slope,) = torch.autograd.grad(after.expression[1].sum(), expression)
    assert torch.allclose(slope[1], torch.ones(3, **DOUBLE))


def test_the_jaw_of_given_points_may_mark_the_outline():
    """On a model that knows where the outline may run, once the head is turned away."""
    columns = torch.arange(29).expand(17, 29)
    able = replace(model(), jaw_contour=(columns + 29 * (16 + columns[:, :1] * 0)).int())
    start = START
    start = start.replace(
        pose=start.pose + torch.tensor([[0.0, 0.0, 0.9, 0.0, 0.0, 0.0]], **DOUBLE)
    )
    chosen = [
        CoarseProblem.of(
            start, two_views(), able, start, torch.zeros(able.n_vertices, 3, **DOUBLE),
            replace(SURFACE, jaw=jaw), ONES,
        ).views[0].basis.mean
        for jaw in ("surface", "outline")
    ]  # fmt: skip
    same = (chosen[0] == chosen[1]).all(-1)
    assert same[17:].all()
    assert not same[:17].all()


def test_a_model_with_joints():
    """Its landmarks are met, and the gradient is that of the model, not of an expansion."""
    model, views = jointed_face().to(torch.float64), jointed_views()[1:4]
    truth = jointed_truth()[0].state(jointed_face(), len(views), albedo_map=16).to(torch.float64)
    start = truth.replace(
        identity=torch.zeros_like(truth.identity), expression=0.5 * truth.expression
    )
    loose = replace(SURFACE, identity_deviation=1.0)
    offsets = torch.zeros(len(model.shape(start.identity, start.expression[0])), 3, **DOUBLE)

    def after(expression: Tensor) -> FaceState:
        state = start.replace(expression=expression)
        return solve_coarse(views, model, state, offsets, loose, ONES)[0]

    def landmarks(state: FaceState) -> Tensor:
        shape = model.shape(state.identity, state.expression[0])
        T = pose_matrix(state.pose, state.pose_reference)[0]
        marks = landmark_positions(shape, model.faces, model.landmarks["ibug68"])
        return marks @ T[:3, :3].T + T[:3, 3]

    noise = torch.randn(
        start.expression.shape, generator=torch.Generator().manual_seed(1), **DOUBLE
    )
    at_start = assert_slope(after, start.expression, noise, 1e-3)
    error = (landmarks(at_start) - landmarks(truth)).norm(dim=-1).mean()
    assert error < 0.1


def test_landmarks_are_needed():
    blind: tuple[View, ...] = tuple(replace(view, landmarks=None) for view in two_views())
    with pytest.raises(ValueError, match="no landmarks in any view"):
        solve(SURFACE, START, blind)


@pytest.mark.parametrize("solver", ["own", "theseus"])
def test_a_state_that_has_no_energy_comes_back_as_it_was(solver):
    lost = START.replace(pose=torch.full_like(START.pose, torch.nan))
    after, solution = solution_of(replace(SURFACE, solver=solver), lost)
    assert solution.outcome is Outcome.NON_FINITE
    assert torch.equal(after.identity, START.identity)


def assert_slope(function, at: Tensor, along: Tensor, tolerance: float) -> FaceState:
    """The gradient of `number(function(at))` along a direction is its central difference. Returns the
    state there."""
    own = at.clone().requires_grad_()
    state = function(own)
    (gradient,) = torch.autograd.grad(number(state), own)
    with torch.no_grad():
        ahead, behind = (number(function(at + s * H * along)) for s in (1.0, -1.0))
    expected = float(ahead - behind) / (2 * H)
    assert abs(expected) > 1e-3
    assert float((gradient * along).sum()) == pytest.approx(expected, rel=tolerance)
    return state
