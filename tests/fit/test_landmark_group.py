"""Grouped landmark equations are those of the blocks, by hand and in one solve."""

from __future__ import annotations

import pytest
import torch

from hrnfit.energy.landmark import LandmarkBasis, LandmarkBlock, WhitenedLandmarkBlock
from hrnfit.fit.landmark_group import GroupedProblem, _root
from hrnfit.solve.block import QuadraticBlock, energy, normal_equations


def _basis(generator, points=30, identity=4, expression=3):
    def random(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    return LandmarkBasis(
        60 * random(points, 3), random(identity, points, 3), random(expression, points, 3)
    )


def _block(basis, generator, view, frame=0, kernel="cauchy"):
    def random(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    points = len(basis.mean)
    T = torch.eye(4, dtype=torch.float64)
    T[:3, 3] = torch.tensor([30.0 * view, -10.0, 700.0])
    K = torch.tensor([[900.0, 2.0, 250.0], [0, 905.0, 240.0], [0, 0, 1]], dtype=torch.float64)
    weight = random(points).square()
    weight[::7] = 0.0
    return LandmarkBlock(
        slots=(("identity", None), ("expression", frame), ("pose", frame), ("log_focal", view)),
        basis=basis,
        pose_reference=torch.eye(4, dtype=torch.float64),
        T_cam_world=T,
        K=K,
        pixels=250 + 90 * random(points, 2),
        metric=0.02 * random(points, 2, 2),
        weight=weight,
        kernel=kernel,
    )


def _leaves(generator, frames=2, views=4):
    sizes = {
        "identity": (4,),
        "expression": (frames, 3),
        "pose": (frames, 6),
        "log_focal": (views, 1),
    }
    return {
        name: 0.2 * torch.randn(size, generator=generator, dtype=torch.float64)
        for name, size in sizes.items()
    }


@pytest.mark.parametrize("kernel", ["cauchy", "geman_mcclure", "square"])
def test_a_group_is_its_blocks(kernel, generator):
    """Three views of one face, one of another instant, one on a basis of its own, and what is no landmark."""
    basis, own = _basis(generator), _basis(generator)
    together = [_block(basis, generator, view, kernel=kernel) for view in range(2)]
    blocks = [
        *together,
        _block(basis, generator, 2, frame=1, kernel=kernel),
        _block(own, generator, 3, frame=1, kernel=kernel),
        QuadraticBlock(("identity", None), *torch.ones(2, 4, dtype=torch.float64)),
    ]
    grouped = GroupedProblem.of(blocks)
    assert [len(group.K) for group in grouped.groups] == [2, 1, 1]
    assert len(grouped.rest) == 1
    leaves = _leaves(generator)
    ours, theirs = grouped.equations(leaves), normal_equations(blocks, leaves)
    torch.testing.assert_close(ours.energy, theirs.energy, rtol=1e-12, atol=0)
    torch.testing.assert_close(grouped.energy(leaves), energy(blocks, leaves), rtol=1e-12, atol=0)
    scale = float(theirs.hessian.abs().max())
    torch.testing.assert_close(ours.hessian, theirs.hessian, rtol=1e-10, atol=1e-13 * scale)
    torch.testing.assert_close(ours.gradient, theirs.gradient, rtol=1e-10, atol=1e-13 * scale)


def test_whitened_blocks_stay_as_they_are(generator):
    block = _block(_basis(generator), generator, 0, kernel="square")
    white = WhitenedLandmarkBlock(block, torch.eye(60, dtype=torch.float64))
    grouped = GroupedProblem.of([white])
    assert (grouped.groups, grouped.rest) == ((), (white,))
    leaves = _leaves(generator)
    assert torch.equal(grouped.energy(leaves), energy([white], leaves))


def test_root_of_semidefinite_matrices(generator):
    """Of rank 3, 2, 1 and 0: the root's own product is the matrix."""
    for rank in range(4):
        A = torch.randn(50, rank, 3, generator=generator, dtype=torch.float64)
        N = A.mT @ A
        C = _root(N)
        torch.testing.assert_close(C.mT @ C, N, atol=1e-12, rtol=1e-10)
    flat = torch.diag(torch.tensor([0.0, 4.0, 9.0], dtype=torch.float64))[None]
    assert _root(flat)[0].tolist() == [[0, 0, 0], [0, 2, 0], [0, 0, 3]]
