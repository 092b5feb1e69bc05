"""Level meshes: geometry of each level, subdivision that follows the curvature, landmarks on it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from hrnfit.fit.levels import (
    enough_subdivisions,
    fine_mesh,
    landmark_points,
    level_meshes,
    neutral_mesh,
    subdivided_landmarks,
)
from hrnfit.geometry.mesh import subdivide, vertex_normals
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.deformation import deformation_operator
from hrnfit.model.linear import LinearFaceModel
from tests.fit.cap_model import cap, landmarks, spherical, state_of
from tests.fit.small_result import make_result


@pytest.fixture
def model(generator) -> LinearFaceModel:
    return cap(generator)


def levels_of(model, state, displacement, **options):
    n = len(model.mean)
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, n, 8)
    return operator, level_meshes(model, state, operator, displacement, **options)


def test_coarse_and_mid_are_model_and_map_under_the_pose(model, generator):
    _, state = state_of(model, generator)
    operator, meshes = levels_of(model, state, torch.zeros(16, 16))
    poses = pose_matrix(state.pose, state.pose_reference)
    for t in range(2):
        head = model.shape(state.identity[None], state.expression[t : t + 1])[0]
        R, shift = poses[t, :3, :3], poses[t, :3, 3]
        torch.testing.assert_close(
            meshes["coarse"][t].vertices, head @ R.mT + shift, atol=2e-4, rtol=0
        )
        moved = head + operator(state.deformation)
        torch.testing.assert_close(
            meshes["mid"][t].vertices, moved @ R.mT + shift, atol=2e-4, rtol=0
        )


def test_fine_keeps_the_vertices_of_mid_first(model, generator):
    _, state = state_of(model, generator)
    _, meshes = levels_of(model, state, torch.zeros(16, 16), subdivisions=2)
    mid, fine = meshes["mid"][0], meshes["fine"][0]
    assert len(fine.faces) == 16 * len(mid.faces)
    relief = (mid.vertices - mid.vertices.mean(dim=0)).norm(dim=1).mean()
    moved = (fine.vertices[: len(mid.vertices)] - mid.vertices).norm(dim=1)
    assert moved.max() < 0.1 * relief  # Loop's rule rounds them off, in place
    torch.testing.assert_close(fine.uv[: len(mid.uv)], mid.uv)


def test_constant_displacement_moves_along_the_normals():
    mid = spherical()
    flat = fine_mesh(mid, {}, torch.zeros(8, 8), 1)
    raised = fine_mesh(mid, {}, torch.full((8, 8), 2.5), 1)
    radius = flat.vertices.norm(dim=-1)
    torch.testing.assert_close(raised.vertices.norm(dim=-1), radius + 2.5, atol=0.01, rtol=0)


def test_subdivision_follows_the_sphere():
    mid = spherical()
    split = subdivide(mid.faces, len(mid.vertices))
    straight = (80 - split.apply(mid.vertices).norm(dim=-1)).abs().max()
    fine = fine_mesh(mid, {}, torch.zeros(8, 8), 1)
    inside = ((fine.uv - 0.5).abs() < 0.4).all(dim=1)
    curved = (80 - fine.vertices.norm(dim=-1))[inside]
    assert curved.max() < straight  # within the control net by no more than its sag
    assert off_radial(fine.vertices, fine.faces)[inside].max() < math.radians(0.5)


def test_jitter_of_mid_is_smoothed(generator):
    mid = spherical()
    noise = 0.2 * torch.randn(len(mid.vertices), 1, generator=generator)
    rough = replace(mid, vertices=mid.vertices + noise * mid.normals)
    fine = fine_mesh(rough, {}, torch.zeros(8, 8), 1)
    inside = ((fine.uv - 0.5).abs() < 0.4).all(dim=1)

    split = subdivide(rough.faces, len(rough.vertices))
    through = off_radial(split.apply(rough.vertices), split.faces)
    assert off_radial(fine.vertices, fine.faces)[inside].mean() < 0.8 * through[inside].mean()


def off_radial(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Angle of the vertex normals to those of the sphere, rad."""
    return (vertex_normals(vertices, faces) - normalize(vertices, dim=-1)).norm(dim=-1)


def test_landmarks_stay_where_they_are_on_the_subdivided_faces(generator):
    mesh = spherical()
    marks = landmarks(mesh.faces, 40, generator)
    split = subdivide(mesh.faces, len(mesh.vertices))
    finer = subdivided_landmarks(marks)
    assert finer.barycentric.min() >= -1e-6
    torch.testing.assert_close(finer.barycentric.sum(-1), torch.ones(40))
    before = landmark_points(mesh.vertices, mesh.faces, marks)
    after = landmark_points(split.apply(mesh.vertices), split.faces, finer)
    assert before[0].isnan().all()
    assert after[0].isnan().all()
    torch.testing.assert_close(after[1:], before[1:], atol=1e-4, rtol=0)


def test_normals_are_those_of_the_displaced_surface(generator):
    fine = fine_mesh(spherical(), {}, torch.rand(8, 8, generator=generator), 1)
    torch.testing.assert_close(fine.normals, vertex_normals(fine.vertices, fine.faces))


@pytest.mark.parametrize(("texels", "steps"), [(1, 1), (2 * 4 * 169, 1), (2 * 4 * 169 + 2, 2)])
def test_subdivisions_follow_the_map(texels, steps):
    assert enough_subdivisions(spherical(), texels) == steps


def test_neutral_is_the_mid_level_without_expression(model, generator):
    sharing, state = state_of(model, generator)
    displacement = 0.2 * torch.randn(16, 16, generator=generator)
    _, meshes = levels_of(model, state, displacement, subdivisions=1)
    _, want = levels_of(
        model,
        state.replace(expression=torch.zeros(2, 2)),
        displacement,
        subdivisions=1,
    )
    base = make_result(views=2, frames=2)
    result = replace(
        base,
        state=state,
        sharing=sharing,
        meshes=meshes,
        model=model,
        maps=replace(base.maps, displacement=displacement),
    )
    for level in ("coarse", "mid", "fine"):
        for frame in range(2):
            got = neutral_mesh(result, level, frame)
            torch.testing.assert_close(got.vertices, want[level][frame].vertices, atol=2e-3, rtol=0)
            assert (got.vertices - meshes[level][frame].vertices).norm(dim=-1).max() > 0.1
