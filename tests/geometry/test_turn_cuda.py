"""Rotation vectors and poses by kernels against the formulas in plain torch on the CPU: in the interpreter, or on a
device."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.geometry.launched import INTERPRETED
from hrnfit.geometry.rotation import SERIES_BELOW, pose_matrix, rotation_with_jacobian
from hrnfit.geometry.turn_cuda import device_poses, device_turns

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

F64 = torch.float64


def vectors(generator: torch.Generator) -> torch.Tensor:
    """Of every length, zero among them, in a batch of two axes."""
    directions = torch.randn(2, 4, 3, dtype=F64, generator=generator)
    return directions * torch.tensor([0.0, 1e-6, 0.05, 3.0], dtype=F64)[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_turns(generator, dtype):
    w = vectors(generator).to(dtype)
    tolerance = 1e-14 if dtype == F64 else 1e-6
    found = device_turns(w.to(DEVICE), SERIES_BELOW)
    for ours, plain in zip(found, rotation_with_jacobian(w), strict=True):
        assert ours.shape == (2, 4, 3, 3)
        torch.testing.assert_close(ours.cpu(), plain, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("tangents", "references"), [((2, 4), (2, 4)), ((2, 4), (4,)), ((4,), (2, 1)), ((2, 4), ())]
)
def test_poses_of_batches_that_are_broadcast(generator, tangents, references):
    """Every tangent meets its own reference, whichever of the two is repeated."""
    lengths = vectors(generator).flatten(0, 1)[: math.prod(tangents)]
    shifts = torch.randn(len(lengths), 3, dtype=F64, generator=generator)
    tangent = torch.cat([lengths, shifts], -1).view(*tangents, 6)
    reference = pose_matrix(
        torch.randn(*references, 6, dtype=F64, generator=generator),
        torch.eye(4, dtype=F64).expand(*references, 4, 4),
    )
    ours = device_poses(tangent.to(DEVICE), reference.to(DEVICE), SERIES_BELOW).cpu()
    batch = torch.broadcast_shapes(tangents, references)
    assert ours.shape == (*batch, 4, 4)
    each = zip(
        tangent.expand(*batch, 6).reshape(-1, 6),
        reference.expand(*batch, 4, 4).reshape(-1, 4, 4),
        strict=True,
    )
    wanted = torch.stack([pose_matrix(w, T) for w, T in each]).view_as(ours)
    torch.testing.assert_close(ours, wanted, atol=1e-14, rtol=0)
    torch.testing.assert_close(pose_matrix(tangent, reference), wanted, atol=1e-14, rtol=0)


def test_none_at_all():
    vectors, tangents, references = (
        torch.zeros(0, *shape, device=DEVICE) for shape in ((3,), (6,), (4, 4))
    )
    assert device_turns(vectors, SERIES_BELOW)[0].shape == (0, 3, 3)
    assert device_poses(tangents, references, SERIES_BELOW).shape == (0, 4, 4)


def test_a_quarter_turn_about_z():
    quarter = torch.tensor([0.0, 0.0, torch.pi / 2], dtype=F64, device=DEVICE)
    R, _ = device_turns(quarter, SERIES_BELOW)
    expected = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=F64)
    torch.testing.assert_close(R.cpu(), expected, atol=1e-15, rtol=0)
