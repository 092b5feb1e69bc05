import math

import pytest
import torch

from hrnfit.geometry.rotation import (
    frame_from_axes,
    left_jacobian,
    polar_factor,
    pose_matrix,
    pose_tangent,
    rebase,
    rigid_inverse,
    rotation_exp,
    rotation_from_frames,
    rotation_log,
    rotation_with_jacobian,
    skew,
)


def random_vectors(count: int, length: float, generator: torch.Generator) -> torch.Tensor:
    v = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return length * v / v.norm(dim=-1, keepdim=True)


def test_exp_quarter_turn_about_z_takes_x_to_y():
    R = rotation_exp(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))
    assert torch.allclose(R[:, 0], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))


def test_skew_is_the_cross_product(generator):
    a, b = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    assert torch.allclose(
        (skew(a) @ b[..., None]).squeeze(-1), torch.linalg.cross(a, b), atol=1e-14
    )


@pytest.mark.parametrize("length", [0.0, 1e-8, 1e-3, 0.0999, 0.1001, 1.0, 3.0])
def test_exp_is_the_matrix_exponential(length, generator):
    w = random_vectors(4, length, generator)
    assert torch.allclose(rotation_exp(w), torch.linalg.matrix_exp(skew(w)), atol=1e-13)


@pytest.mark.parametrize("length", [0.0, 1e-8, 1e-3, 0.19, 0.21, 1.0, 3.0, math.pi - 1e-6])
def test_log_undoes_exp(length, generator):
    w = random_vectors(6, length, generator).reshape(2, 3, 3)
    assert torch.allclose(rotation_log(rotation_exp(w)), w, atol=1e-9)


def test_log_at_half_a_turn_gives_the_axis_up_to_sign():
    R = rotation_exp(torch.tensor([0.0, math.pi, 0.0], dtype=torch.float64))
    assert rotation_log(R).abs()[1] == pytest.approx(math.pi)


def test_float32_is_a_rotation_to_its_precision(generator):
    R = rotation_exp(random_vectors(50, 0.12, generator).float())
    assert torch.allclose(R @ R.mT, torch.eye(3).expand(50, 3, 3), atol=5e-7)


@pytest.mark.parametrize("length", [0.0, 1e-3, 0.5, 2.0])
@pytest.mark.parametrize("function", [rotation_exp, left_jacobian])
def test_exp_gradients(function, length, generator):
    w = random_vectors(2, length, generator).requires_grad_()
    assert torch.autograd.gradcheck(function, (w,))


@pytest.mark.parametrize("length", [0.0, 1e-3, 0.5, 2.0])
def test_log_gradients(length, generator):
    w = random_vectors(2, length, generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotation_log(rotation_exp(x)), (w,))


@pytest.mark.parametrize("length", [0.0, 1e-3, 1.5])
def test_left_jacobian_is_the_derivative_of_a_turned_point(length, generator):
    w = random_vectors(1, length, generator)[0]
    y = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    automatic = torch.autograd.functional.jacobian(lambda x: rotation_exp(x) @ y, w)
    assert torch.allclose(automatic, -skew(rotation_exp(w) @ y) @ left_jacobian(w), atol=1e-12)


def test_frames_turn_into_each_other(generator):
    axes = torch.randn(4, 3, 3, generator=generator, dtype=torch.float64)
    src, dst = frame_from_axes(axes[:, 0], axes[:, 1]), frame_from_axes(axes[:, 1], axes[:, 2])
    R = rotation_from_frames(src, dst)
    assert torch.allclose(R @ src, dst, atol=1e-12)
    assert torch.allclose(torch.linalg.det(R), torch.ones(4, dtype=torch.float64))


def test_pose_at_zero_is_its_reference_and_tangent_inverts(generator):
    tangent = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    eye = torch.eye(4, dtype=torch.float64).expand(5, 4, 4)
    reference = pose_matrix(0.3 * tangent.flip(0), eye)
    assert torch.equal(pose_matrix(torch.zeros_like(tangent), eye), eye)
    assert torch.allclose(pose_tangent(pose_matrix(tangent, reference), reference), tangent)


def test_rebase_keeps_the_pose(generator):
    tangent = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    reference = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    zero, moved = rebase(tangent, reference)
    assert not zero.any()
    assert torch.allclose(pose_matrix(zero, moved), pose_matrix(tangent, reference), atol=1e-12)


def test_the_polar_factor_is_the_rotation_that_a_small_stretch_follows(generator):
    """R (1 + S) with a symmetric S is R and a stretch, whose nearest rotation is R."""
    R = rotation_exp(random_vectors(6, 1.3, generator))
    S = torch.randn(6, 3, 3, generator=generator, dtype=torch.float64)
    S = S + S.mT
    S = 0.01 * S / torch.linalg.matrix_norm(S, 2)[:, None, None]
    stretched = R + R @ S
    assert float((stretched - R).abs().max()) > 5e-3
    assert torch.allclose(polar_factor(stretched), R, atol=4e-15, rtol=0)
    U, _, Vh = torch.linalg.svd(stretched)
    assert torch.allclose(polar_factor(stretched), U @ Vh, atol=4e-15, rtol=0)
    single = polar_factor(stretched.float())
    assert torch.allclose(single @ single.mT, torch.eye(3).expand(6, 3, 3), atol=5e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_rebase_on_a_device_is_that_of_the_cpu(generator):
    tangent = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    reference = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    reference[:, :3, :3] *= 1.001  # drift
    zero, moved = rebase(tangent.cuda(), reference.cuda())
    assert not zero.any()
    assert torch.allclose(moved.cpu(), rebase(tangent, reference)[1], atol=1e-12)


def test_rigid_inverse(generator):
    T = pose_matrix(
        torch.randn(6, generator=generator, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    )
    assert torch.allclose(rigid_inverse(T) @ T, torch.eye(4, dtype=torch.float64), atol=1e-12)


def test_rotation_and_jacobian_together_are_those_apart(generator):
    v = torch.cat([torch.zeros(1, 3).double(), random_vectors(4, 1.3, generator)])
    R, J = rotation_with_jacobian(v)
    assert torch.equal(R, rotation_exp(v))
    assert torch.equal(J, left_jacobian(v))
