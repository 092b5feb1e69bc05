"""Poses under many pinholes end where a solve of each ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.energy.landmark import LandmarkBasis, LandmarkBlock
from hrnfit.fit.rigid_poses import RigidPoses, lowest_energies
from hrnfit.solve.block import NormalEquations
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt

GRID = (-0.5, 0.0, 0.4)


def _poses(generator, kernel="cauchy"):
    """Noisy detections of 40 points at 700 mm, looked at through three focal lengths."""
    points = 60 * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    none, T = points.new_zeros(0, 40, 3), torch.eye(4, dtype=torch.float64)
    T[:3, 3] = torch.tensor([10.0, -5.0, 700.0])
    K = torch.tensor([[900.0, 0, 250], [0, 905, 240], [0, 0, 1]], dtype=torch.float64)
    x_cam = points + T[:3, 3]
    pixels = (x_cam / x_cam[:, 2:]) @ K[:2].mT
    pixels = pixels + 3 * torch.randn(40, 2, generator=generator, dtype=torch.float64)
    eye = torch.eye(4, dtype=torch.float64)
    block = LandmarkBlock(
        slots=(("identity", None), ("expression", 0), ("pose", 0), ("log_focal", 0)),
        basis=LandmarkBasis(points, none, none),
        pose_reference=eye,
        T_cam_world=T,
        K=K,
        pixels=pixels,
        metric=(0.4 * torch.eye(2, dtype=torch.float64)).expand(40, 2, 2),
        weight=torch.rand(40, generator=generator, dtype=torch.float64),
        kernel=kernel,
    )
    scaled = K.repeat(3, 1, 1)
    scaled[:, :2, :2] *= torch.tensor(GRID, dtype=torch.float64).exp()[:, None, None]
    reference = eye.repeat(3, 1, 1)
    reference[:, 2, 3] = torch.tensor([-200.0, 0.0, 250.0])
    return RigidPoses(block, scaled, reference)


def _single(poses, row):
    """Energy and equations of one row by the block itself."""
    block = replace(poses.block, K=poses.K[row], pose_reference=poses.pose_reference[row])
    zero = poses.K.new_zeros(0)

    def values(pose):
        return zero, zero, pose, poses.K.new_zeros(1)

    def energy(leaves):
        return 0.5 * block.residual(*values(leaves["pose"])).square().sum()

    def equations(leaves):
        e, (_, _, A, _) = block.linearize(*values(leaves["pose"]))
        return NormalEquations(0.5 * e.square().sum(), A.mT @ A, A.mT @ e)

    return energy, equations


@pytest.mark.parametrize("kernel", ["cauchy", "square"])
def test_rows_are_blocks(kernel, generator):
    poses = _poses(generator, kernel)
    pose = 0.05 * torch.randn(3, 6, generator=generator, dtype=torch.float64)
    H, g = poses.equations(pose)
    for row in range(3):
        energy, equations = _single(poses, row)
        expected = equations({"pose": pose[row]})
        torch.testing.assert_close(poses.energy(pose)[row], energy({"pose": pose[row]}))
        torch.testing.assert_close(H[row], expected.hessian, rtol=1e-10, atol=1e-8)
        torch.testing.assert_close(g[row], expected.gradient, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_rows_end_where_each_alone_ends(steps, generator):
    poses = _poses(generator)
    solver = LevenbergMarquardt(max_steps=steps, tolerance=1e-6)
    found = lowest_energies(poses, solver)
    for row in range(3):
        energy, equations = _single(poses, row)
        start = {"pose": poses.K.new_zeros(6)}
        solution = solver.minimize_function(equations, energy, start)
        assert float(found[row]) == pytest.approx(solution.energies[-1], rel=1e-9)
        assert float(found[row]) < solution.energies[0]


def test_a_row_that_is_not_finite_stops_none_of_the_others(generator):
    poses = _poses(generator)
    K = poses.K.clone()
    K[1] = torch.nan
    broken = lowest_energies(replace(poses, K=K), LevenbergMarquardt(max_steps=8))
    whole = lowest_energies(poses, LevenbergMarquardt(max_steps=8))
    assert bool(broken[1].isnan())
    torch.testing.assert_close(broken[::2], whole[::2])
