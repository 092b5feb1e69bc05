"""A photograph and its mirror image are two views of one symmetric head."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.camera import Camera
from hrnfit.fit.coefficient_stage import CoefficientSettings, _Problem, solve_coefficients
from hrnfit.fit.mirror import (
    MirrorTied,
    mirror_camera,
    mirror_scene,
    mirrored_expressions,
    with_mirror,
)
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.solve.block import Layout
from tests.fit.small_scene import face, one_instant, rig, scene_of, truth_scene, views_of

SETTINGS = CoefficientSettings(size=96, texels=64, symmetry=True)
M = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("terms", [0, 4, 5, 8, 12])
def test_mirrored_camera_sees_mirrored_points_at_mirrored_pixels(terms):
    generator = torch.Generator().manual_seed(terms)
    R = pose_matrix(
        torch.tensor([[0.2, -0.4, 0.1, 5.0, -8.0, 500.0]], dtype=torch.float64),
        torch.eye(4, dtype=torch.float64)[None],
    )[0]
    distortion = 0.02 * torch.randn(terms, generator=generator, dtype=torch.float64)
    K = [[900.0, 1.5, 310.0], [0.0, 890.0, 260.0], [0.0, 0.0, 1.0]]
    camera = Camera.create(K, R, distortion, height=480, width=640)
    points = 60.0 * torch.randn(20, 3, generator=generator, dtype=torch.float64)
    there = mirror_camera(camera).project(points @ M)
    seen = camera.project(points)
    assert torch.allclose(there[:, 1], seen[:, 1], atol=1e-8)
    assert torch.allclose(there[:, 0], 640.0 - seen[:, 0], atol=1e-8)
    again = mirror_camera(mirror_camera(camera))
    assert torch.allclose(again.K, camera.K)
    assert torch.allclose(again.distortion, camera.distortion)


def test_mirrored_scene_is_the_flipped_scene():
    scene, state = truth_scene()
    state = state.replace(pose=torch.tensor([[0.1, 0.2, -0.3, 4.0, 5.0, 6.0]]))
    both, doubled = mirror_scene(scene.framed(state), state)
    windows = both.windows(96)
    assert torch.allclose(windows.images[3:], windows.images[:3].flip(2), atol=1e-4)
    assert torch.equal(windows.masks[3:] > 0.5, windows.masks[:3].flip(2) > 0.5)
    T = both.predict(doubled, 96).T_world_head
    assert torch.allclose(T[1, :3, :3], M.float() @ T[0, :3, :3] @ M.float(), atol=1e-6)
    assert torch.allclose(T[1, :3, 3], M.float() @ T[0, :3, 3], atol=1e-4)


def test_expressions_change_sides():
    names = ("smile_L", "smile_R", "jawOpen", "jawLeft", "jawRight", "eyeLookInLeft", "frown_L")
    assert mirrored_expressions(names).mode.tolist() == [1, 0, 2, 4, 3, 5, 6]
    leaves = {"expression": torch.arange(7.0)[None]}
    out = with_mirror(leaves, mirrored_expressions(names))["expression"]
    assert out.tolist() == [[0, 1, 2, 3, 4, 5, 6], [1, 0, 2, 4, 3, 5, 6]]


def test_turns_change_sides_and_signs():
    names = tuple(f"{joint}_{axis}" for joint in ("jaw", "left_eye", "right_eye") for axis in "xyz")
    out = with_mirror({"expression": torch.arange(9.0)[None]}, mirrored_expressions(names))
    assert out["expression"][1].tolist() == [0, -1, -2, 6, -7, -8, 3, -4, -5]


def tied(free: tuple[str, ...]):
    """One photograph, in float64, and its tied problem."""
    source = rig()
    state = source.truth.state(face(), 1, albedo_map=64)
    scene = scene_of(views_of(source)[:1], state, face(), one_instant(1))
    scene = replace(scene, model=face().to(torch.float64))
    state = state.to(torch.float64)
    both, doubled = mirror_scene(scene, state)
    windows = both.windows(96)
    as_double = {
        name: getattr(windows, name).double()
        for name in ("images", "masks", "K", "T_cam_world", "landmarks", "landmark_confidence")
    }
    both._windows[windows.size] = replace(windows, **as_double)
    p = _Problem(both, doubled, free, SETTINGS, None)
    swap = mirrored_expressions(face().expression_names)
    return MirrorTied(p, swap), {name: getattr(state, name) for name in free}


def test_tied_equations_are_the_full_ones_along_tied_directions():
    problem, leaves = tied(("identity", "expression", "pose", "log_focal"))
    problem.refresh(leaves)
    both = with_mirror(leaves, problem.swap)
    own, full = problem.linearize(leaves), problem.problem.linearize(both)
    layout, doubled = Layout.of(leaves), Layout.of(both)
    generator = torch.Generator().manual_seed(3)
    step = torch.randn(layout.size, generator=generator, dtype=torch.float64)
    along = doubled.pack(with_mirror(layout.unpack(step), problem.swap))
    assert float(own.gradient @ step) == pytest.approx(float(full.gradient @ along), rel=1e-9)
    assert float(step @ own.hessian @ step) == pytest.approx(float(along @ full.hessian @ along))
    assert float(own.energy) == pytest.approx(float(problem.energy(leaves)))


def test_one_photograph_and_its_mirror_image_are_solved():
    source = rig()
    state = source.truth.state(face(), 1, albedo_map=64)
    scene = scene_of(views_of(source)[:1], state, face(), one_instant(1))
    found, solution = solve_coefficients(scene, state, ("identity", "pose"), SETTINGS)
    assert solution.energies[-1] < solution.energies[0]
    assert found.identity.shape == state.identity.shape
    assert found.pose.shape == state.pose.shape
    assert not torch.equal(found.identity, state.identity)
