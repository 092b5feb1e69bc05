import pytest
import torch

from hrnfit.geometry.align import (
    align_rigid,
    align_similarity,
    camera_from_points,
    triangulate,
)
from hrnfit.geometry.rotation import pose_matrix, rotation_exp

K = torch.tensor([[1500.0, 0, 500], [0, 1480.0, 520], [0, 0, 1]], dtype=torch.float64)


def face_like(count: int, generator: torch.Generator) -> torch.Tensor:
    """Points of a shallow bowl, mm: the relief of a face."""
    xy = 150 * (torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.5)
    return torch.cat([xy, -0.006 * xy.square().sum(-1, keepdim=True)], -1)


def rig(generator: torch.Generator) -> torch.Tensor:
    """T_cam_world of four cameras on an arc, 800 mm off."""
    tangents = torch.zeros(4, 6, dtype=torch.float64)
    tangents[:, 1] = torch.tensor([-0.6, -0.2, 0.2, 0.6])
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    flip[2, 3] = 800.0
    return flip @ pose_matrix(tangents, torch.eye(4, dtype=torch.float64).expand(4, 4, 4))


def project(points: torch.Tensor, T_cam_world: torch.Tensor) -> torch.Tensor:
    x = points @ T_cam_world[..., :3, :3].mT + T_cam_world[..., None, :3, 3]
    p = x @ K.mT
    return p[..., :2] / p[..., 2:]


def test_similarity_is_recovered_in_batches(generator):
    source = torch.randn(3, 2, 10, 3, generator=generator, dtype=torch.float64)
    R = rotation_exp(torch.randn(3, 2, 3, generator=generator, dtype=torch.float64))
    t = torch.randn(3, 2, 3, generator=generator, dtype=torch.float64)
    target = 2.5 * source @ R.mT + t[..., None, :]
    found = align_similarity(source, target)
    assert torch.allclose(found.scale, torch.full((3, 2), 2.5, dtype=torch.float64))
    assert torch.allclose(found.rotation, R, atol=1e-10)
    assert torch.allclose(found.apply(source), target, atol=1e-10)


def test_rigid_keeps_scale_one_and_never_reflects(generator):
    source = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    mirrored = source * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    found = align_rigid(source, mirrored)
    assert float(found.scale) == 1.0
    assert torch.linalg.det(found.rotation) == pytest.approx(1.0)


def test_weight_zero_ignores_a_point(generator):
    source = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    target = source + 5.0
    target[0] = 1e4
    weights = torch.tensor([0.0, 1, 1, 1, 1, 1], dtype=torch.float64)
    assert torch.allclose(
        align_rigid(source, target, weights).apply(source)[1:], target[1:], atol=1e-9
    )


def test_alignment_is_differentiable(generator):
    source, target = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    source.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: align_similarity(s, target).matrix, (source,))


def test_two_points_are_too_few():
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        align_rigid(torch.zeros(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("view", range(4))
def test_camera_from_points(view, generator):
    points, T = face_like(60, generator), rig(generator)[view]
    found = camera_from_points(points, project(points, T), K)
    assert torch.allclose(found, T, atol=1e-4)


def test_camera_needs_six_points():
    with pytest.raises(ValueError, match="at least 6"):
        camera_from_points(torch.zeros(5, 3), torch.zeros(5, 2), K.float())


def test_triangulation_survives_outliers(generator):
    points, T = face_like(40, generator), rig(generator)
    pixels = project(points, T)
    pixels[1, :10] += 80.0  # a quarter of one view is wrong
    confidence = torch.ones(4, 40, dtype=torch.float64)
    scale = torch.full((4,), 4.0, dtype=torch.float64)
    found = triangulate(pixels, confidence, K @ T[:, :3], scale)
    assert (found.points - points).norm(dim=-1).max() < 0.3
    assert found.weight[1, :10].max() < 0.01 < 0.9 < found.weight[0].min()


def test_triangulation_is_exact_and_ignores_unseen_views(generator):
    points, T = face_like(20, generator), rig(generator)
    pixels = project(points, T)
    pixels[3] = 0.0
    confidence = torch.ones(4, 20, dtype=torch.float64)
    confidence[3] = 0.0
    found = triangulate(pixels, confidence, K @ T[:, :3], torch.ones(4, dtype=torch.float64))
    assert torch.allclose(found.points, points, atol=1e-6)


def test_triangulation_turns_with_the_world(generator):
    points, T = face_like(20, generator), rig(generator)
    pixels = project(points, T) + torch.randn(4, 20, 2, generator=generator, dtype=torch.float64)
    ones, scale = torch.ones(4, 20, dtype=torch.float64), torch.full((4,), 3.0).double()
    G = pose_matrix(torch.randn(6, generator=generator).double(), torch.eye(4).double())
    here = triangulate(pixels, ones, K @ T[:, :3], scale).points
    there = triangulate(pixels, ones, K @ (T @ torch.linalg.inv(G))[:, :3], scale).points
    assert torch.allclose(here @ G[:3, :3].mT + G[:3, 3], there, atol=1e-5)


def test_one_view_has_no_depth():
    with pytest.raises(ValueError, match="two views"):
        triangulate(torch.zeros(1, 4, 2), torch.ones(1, 4), torch.zeros(1, 3, 4), torch.ones(1))
