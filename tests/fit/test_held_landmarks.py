"""Landmarks beside the skin: derivatives, the optimum at the truth, what the map does to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hrnfit.fit.coefficient_stage import CoefficientSettings, solve_coefficients
from hrnfit.fit.held_landmarks import LEAVES, HeldLandmarks, SumOfProblems, _displaced
from hrnfit.fit.landmark_problem import LandmarkStart
from hrnfit.fit.landmark_views import landmark_views
from hrnfit.fit.scene import Scene
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.observe.observation import Landmarks
from hrnfit.solve.block import Layout
from hrnfit.state import FaceState
from tests.fit.small_scene import face, truth_scene
from tests.fit.test_map_stage import own_frames

START = LandmarkStart()


def leaves_of(state: FaceState, free: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: getattr(state, name).double() for name in free}


def away() -> tuple[Scene, FaceState]:
    """Each view its own frame, every leaf off its truth."""
    scene, state = truth_scene()
    state, sharing = own_frames(state)
    views = tuple(replace(view, frame=v) for v, view in enumerate(scene.views))
    scene = replace(scene, views=views, sharing=sharing)
    shift = torch.tensor([0.0, 0.1, 0.2])
    return scene, state.replace(
        identity=state.identity + 0.3,
        expression=state.expression + shift[:, None],
        log_focal=state.log_focal + 0.1 * shift,
    )


def held(
    scene: Scene, state: FaceState, free: tuple[str, ...] = LEAVES, share: float = 1.0
) -> tuple[HeldLandmarks, dict[str, Tensor]]:
    problem, leaves = HeldLandmarks(scene, state, free, START, share), leaves_of(state, free)
    problem.refresh(leaves)
    return problem, leaves


@pytest.mark.parametrize("free", [LEAVES, ("pose", "identity")])
def test_gradient_is_the_slope_of_the_energy(free):
    problem, leaves = held(*away(), free)
    equations, layout = problem.linearize(leaves), Layout.of(leaves)
    assert float(equations.energy) == pytest.approx(float(problem.energy(leaves)))
    packed = layout.pack(leaves)
    for k in range(layout.size):
        step = torch.zeros_like(packed)
        step[k] = 1e-6
        up, down = (problem.energy(layout.unpack(packed + sign * step)) for sign in (1, -1))
        assert float(equations.gradient[k]) == pytest.approx(
            float(up - down) / 2e-6, rel=1e-5, abs=1e-5
        )


@pytest.mark.parametrize("free", [("pose", "identity"), ("log_focal", "expression")])
def test_with_some_leaves_held_the_equations_are_rows_of_the_full_ones(free):
    scene, state = away()
    full, everything = held(scene, state)
    part, leaves = held(scene, state, free)
    whole = Layout.of(everything)
    rows = torch.cat([torch.arange(whole.size)[whole.columns((n, None))] for n in free])
    ours, theirs = part.linearize(leaves), full.linearize(everything)
    assert float(ours.energy) == pytest.approx(float(theirs.energy))
    assert torch.allclose(ours.gradient, theirs.gradient[rows])
    assert torch.allclose(ours.hessian, theirs.hessian[rows][:, rows])


def with_jaw(scene: Scene) -> Scene:
    """Its jaw slides, but each point has only itself to slide to."""
    marks = scene.model.landmarks["ibug68"]
    corner = marks.barycentric.argmax(1)[:17, None]
    jaw = scene.model.faces[marks.triangles[:17].long()].gather(1, corner)
    return replace(scene, model=replace(face(), jaw_contour=jaw))


@pytest.mark.parametrize("sliding", [False, True])
def test_the_truth_is_the_optimum(sliding):
    scene, state = truth_scene()
    problem, leaves = held(with_jaw(scene) if sliding else scene, state)
    moved = {**leaves, "identity": leaves["identity"] + 0.5}
    assert float(problem.energy(leaves)) < 1e-4 * float(problem.energy(moved))


def test_the_truth_stays_the_optimum_as_a_tangent_at_another_pose():
    scene, state = truth_scene()
    tangent = torch.tensor([[0.1, -0.2, 0.3, 10.0, 20.0, -15.0]])
    elsewhere = state.replace(
        pose=-tangent, pose_reference=pose_matrix(tangent, state.pose_reference)
    )
    (there, moved), (here, leaves) = held(scene, elsewhere), held(scene, state)
    assert float(there.energy(moved)) == pytest.approx(float(here.energy(leaves)), abs=1e-4)


def test_corrected_cameras_are_where_they_were_found():
    """Cameras given wrong, and the state's correction of them: still the optimum."""
    scene, state = truth_scene()
    tangent = torch.tensor([0.02, -0.03, 0.01, 5.0, -4.0, 9.0])
    cameras = [
        replace(v.camera, T_cam_world=pose_matrix(tangent.double(), v.camera.T_cam_world.double()))
        for v in scene.views
    ]
    views = [replace(v, camera=c) for v, c in zip(scene.views, cameras, strict=True)]
    off = replace(scene, views=tuple(views))
    problem, leaves = held(off, state.replace(camera=-tangent.expand(3, 6)))
    ignored, _ = held(off, state)
    assert float(problem.energy(leaves)) < 1e-3 * float(ignored.energy(leaves))


def test_a_share_of_the_evidence_is_that_share_of_the_energy():
    scene, state = away()
    whole, leaves = held(scene, state)
    tenth, _ = held(scene, state, share=0.1)
    assert float(tenth.energy(leaves)) == pytest.approx(0.1 * float(whole.energy(leaves)))


@pytest.mark.parametrize("scheme", ["ibug68", "five"])
def test_a_constant_map_carries_all_landmarks_along(scheme):
    scene, state = truth_scene()
    offset = torch.tensor([1.0, -2.0, 3.0])
    flat = state.replace(deformation=offset.expand_as(state.deformation))
    count = {"ibug68": 68, "five": 5}[scheme]
    marks = Landmarks(10.0 * torch.rand(count, 2), torch.ones(count), scheme)
    view = landmark_views((replace(scene.views[0], landmarks=marks),), scene.model)[0]
    moved = _displaced(view, scene, flat).basis.mean - view.basis.mean
    assert torch.allclose(moved, offset.double().expand(count, 3), atol=1e-5)


def test_without_its_map_the_truth_is_no_optimum():
    scene, state = truth_scene()
    bare = state.replace(deformation=torch.zeros_like(state.deformation))
    (true, leaves), (without, _) = held(scene, state), held(scene, bare)
    assert float(true.energy(leaves)) < 1e-3 * float(without.energy(leaves))


def test_a_sum_adds_what_its_parts_say():
    scene, state = away()
    (one, leaves), (other, _) = held(scene, state), held(scene, state, share=0.3)
    both = SumOfProblems((one, other))
    moved = {**leaves, "identity": leaves["identity"] - 0.1}
    both.refresh(moved)  # both parts, so that their widths of a pixel stay equal
    parts = [part.linearize(leaves) for part in (one, other)]
    ours = both.linearize(leaves)
    assert float(both.energy(leaves)) == pytest.approx(sum(float(p.energy) for p in parts))
    assert float(ours.energy) == pytest.approx(float(both.energy(leaves)))
    assert torch.allclose(ours.gradient, parts[0].gradient + parts[1].gradient)
    assert torch.allclose(ours.hessian, parts[0].hessian + parts[1].hessian)


def test_a_fit_stays_nearer_to_its_landmarks_where_they_count():
    """Skin that hardly counts, and a start away from the landmarks."""
    scene, state = truth_scene()
    start = state.replace(identity=state.identity + 0.4)
    settings = CoefficientSettings(size=96, texels=32, steps=6, rounds=1, evidence=1.0)
    problem, _ = held(scene, state, ("identity",))
    errors = {}
    for share in (0.0, 1.0):
        found, _ = solve_coefficients(
            scene, start, ("identity",), replace(settings, landmarks=share)
        )
        errors[share] = float(problem.energy(leaves_of(found, ("identity",))))
    assert errors[1.0] < 0.3 * errors[0.0]
