"""A face whose jaw and neck turn: every solver that linearises the model finds them."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

import hrnfit
from hrnfit.fit.coefficient_stage import CoefficientSettings, solve_coefficients
from hrnfit.fit.held_landmarks import HeldLandmarks
from hrnfit.fit.initialize import initialize
from hrnfit.fit.landmark_problem import LandmarkStart
from hrnfit.fit.landmark_views import landmark_views, relinearised
from hrnfit.fit.scene import Scene
from hrnfit.fit.shared_skin import local_shape
from hrnfit.fit.sliding_jaw import sliding_jaw
from hrnfit.fit.surface_points import expansion
from hrnfit.fit.surface_stage import SurfaceSettings, solve_surface
from hrnfit.model.linear import landmark_positions
from hrnfit.state import FaceState
from tests.fit.jointed_scene import (
    JAW,
    NECK,
    angle,
    index,
    jointed_face,
    jointed_truth,
    jointed_views,
)
from tests.fit.small_scene import one_instant, scene_of

FREE = ("identity", "expression", "pose")
DEGREE = math.pi / 180.0


@cache
def scene() -> tuple[Scene, FaceState]:
    """The photographs, and the true state."""
    views, truth = jointed_views(), jointed_truth()[0]
    state = truth.state(jointed_face(), len(views), albedo_map=64)
    state = state.replace(deformation=torch.zeros(64, 64, 3))
    return scene_of(views, state, jointed_face(), one_instant(len(views))), state


def half_closed(state: FaceState) -> FaceState:
    """The state with the jaw at 10 of its 15 degrees and half of the neck's turn."""
    expression = state.expression.clone()
    expression[0, index("jaw_x")] *= 10.0 / 15.0
    expression[0, index("neck_y")] *= 0.5
    return state.replace(expression=expression)


def errors(found: Tensor) -> tuple[float, float]:
    """Of the jaw's opening and the neck's turn, degrees."""
    return (
        abs(angle(found, "jaw_x") - JAW) / DEGREE,
        abs(angle(found, "neck_y") - NECK) / DEGREE,
    )


def test_exact_landmarks_give_the_turns():
    start = initialize(
        jointed_views(), jointed_face(), None, LandmarkStart(evidence=1e6, jaw="surface")
    )
    jaw, neck = errors(start.expression[0])
    assert jaw < 0.05
    assert neck < 0.1
    points = jointed_face().shape(start.identity, start.expression[0])
    T, truth = start.pose_reference[0], jointed_truth()[0]
    assert float((points @ T[:3, :3].T + T[:3, 3] - truth.coarse).norm(dim=1).max()) < 0.1


def test_landmarks_believed_as_usual_open_the_jaw():
    start = initialize(jointed_views(), jointed_face())
    assert errors(start.expression[0])[0] < 1.0


def test_photographs_correct_the_turns():
    views, state = scene()
    begun = half_closed(state)
    # faces of 141 px: their windows are the photographs' own pixels, which half the usual blur suffices for
    settings = CoefficientSettings(
        size=160, rounds=4, offset=0, evidence=3e6, start_deviation=5.0, blur=0.5
    )
    found, _ = solve_coefficients(views.framed(begun), begun, FREE, settings)
    before, after = errors(begun.expression[0]), errors(found.expression[0])
    assert before[0] > 4.5
    assert before[1] > 4.5
    assert after[0] < 0.7
    assert after[1] < 2.5


def test_a_surface_is_explained_by_turns():
    """The deformation map holds what half-closed joints miss of the true surface."""
    views, state = scene()
    begun = half_closed(state)
    missing = views.world(state)[0] - views.world(begun)[0]
    head = missing @ state.pose_reference[0, :3, :3]
    begun = begun.replace(deformation=views.operator(64).fit_map(head, 1e-3))
    found, _ = solve_surface(views, begun, (*FREE, "deformation"), SurfaceSettings(texels=48))
    jaw, neck = errors(found.expression[0])
    assert jaw < 1.0
    assert neck < 2.0


def test_points_are_exact_where_they_are_linearised():
    model, state = jointed_face(), scene()[1]
    leaves = {"identity": state.identity.double(), "expression": state.expression.double()}
    near = relinearised(landmark_views(jointed_views(), model), model, leaves)[0]
    there = landmark_positions(
        model.shape(state.identity, state.expression[0]), model.faces, model.landmarks["ibug68"]
    )
    found = near.basis.points(leaves["identity"], leaves["expression"][0])
    assert torch.allclose(found.float(), there, atol=1e-3)
    far = landmark_views(jointed_views(), model)[0].basis
    off = far.points(leaves["identity"], leaves["expression"][0]).float() - there
    assert float(off.norm(dim=1).max()) > 1.0  # what one linearisation at the mean face misses


def test_an_outline_follows_the_open_jaw():
    model, state = jointed_face(), scene()[1]
    row = model.landmarks["ibug68"].triangles[:17].long()
    unposed = replace(model.unposed, jaw_contour=model.faces[row])
    model = replace(model, unposed=unposed)
    outline = sliding_jaw(model)
    assert outline is not None
    face = expansion(model, state.identity, state.expression[0])
    near = outline.near(face)
    points = near.basis.points(face.identity, face.expression).view(17, 4, 3)
    shape = model.shape(state.identity, state.expression[0]).double()
    assert torch.allclose(points[:, 1:], shape[unposed.jaw_contour.long()], atol=1e-3)
    turned = (near.normals - outline.normals).norm(dim=-1)
    assert float(turned[8].max()) > 0.1  # the chin's normals open with the jaw


@pytest.mark.parametrize("name", ["jaw_x", "neck_y"])
def test_local_shape_has_the_derivative_of_turns(name):
    model = jointed_face().to(torch.float64)
    texels, state = scene()[0].texels(32), scene()[1].to(torch.float64)
    here = local_shape(model, texels, state.identity, state.expression[0])
    step = torch.zeros_like(state.expression[0])
    step[index(name)] = 1e-4
    ends = [
        texels.interpolate(model.shape(state.identity, state.expression[0] + sign * step))
        for sign in (1.0, -1.0)
    ]
    numeric = (ends[0] - ends[1]) / 2e-4
    assert torch.allclose(here.expression[..., index(name)], numeric, atol=1e-5)
    at = here.mean + here.identity @ state.identity + here.expression @ state.expression[0]
    assert torch.allclose(at, texels.interpolate(model.shape(state.identity, state.expression[0])))


def test_held_landmarks_rest_at_the_truth():
    views, state = scene()
    held = HeldLandmarks(views, state, FREE, LandmarkStart(jaw="surface"), 1.0)
    leaves = {name: getattr(state, name).double() for name in FREE}
    held.refresh(leaves)
    at_truth = float(held.energy(leaves))
    begun = {name: getattr(half_closed(state), name).double() for name in FREE}
    held.refresh(begun)
    assert at_truth < 1e-3 * float(held.energy(begun))


def test_the_rig_recipe_runs_as_it_is(tmp_path):
    views = jointed_views()
    small = {
        f"stages.{k}.{key}": value
        for k in range(6)
        for key, value in (("texels", 64), ("steps", 2))
    }
    small |= {"stages.7.texels": 64, "stages.7.steps": 1, "stages.6.rounds": 3}
    small |= {"resolution.displacement": 32, "resolution.albedo": 64, "resolution.deformation": 32}
    result = hrnfit.fit(
        {v.name: v.image for v in views},
        [v.camera for v in views],
        model=jointed_face(),
        recipe="rig",
        landmarks={v.name: v.landmarks for v in views if v.landmarks is not None},
        masks={v.name: v.mask for v in views if v.mask is not None},
        device="cpu",
        overrides=small,
    )
    assert result.warnings == ()
    assert errors(result.state.expression[0])[0] < 1.5
    offset = result.mesh("mid").vertices - jointed_truth()[0].coarse
    assert float(offset.norm(dim=1).median()) < 1.0
