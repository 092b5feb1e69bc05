"""Rotation vectors and poses by kernels against the formulas in plain torch, in the interpreter."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.geometry.launched import INTERPRETED
from hrnfit.geometry.rotation import SERIES_BELOW, pose_matrix, rotation_with_jacobian
from hrnfit.geometry.turn_cuda import device_poses, device_turns

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled in this process")

F64 = torch.float64


def vectors(generator: torch.Generator) -> torch.Tensor:
    """Of every length, zero among them, in a batch of two axes."""
    directions = torch.randn(2, 4, 3, dtype=F64, generator=generator)
    return directions * torch.tensor([0.0, 1e-6, 0.05, 3.0], dtype=F64)[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_turns(generator, dtype):
    w = vectors(generator).to(dtype)
    tolerance = 1e-14 if dtype == F64 else 1e-6
    for ours, plain in zip(device_turns(w, SERIES_BELOW), rotation_with_jacobian(w), strict=True):
        assert ours.shape == (2, 4, 3, 3)
        torch.testing.assert_close(ours, plain, atol=tolerance, rtol=0)


def test_poses(generator):
    tangent = torch.cat(
        [vectors(generator), torch.randn(2, 4, 3, dtype=F64, generator=generator)], -1
    )
    reference = pose_matrix(
        torch.randn(2, 4, 6, dtype=F64, generator=generator),
        torch.eye(4, dtype=F64).expand(2, 4, 4, 4),
    )
    torch.testing.assert_close(
        device_poses(tangent, reference, SERIES_BELOW),
        pose_matrix(tangent, reference),
        atol=1e-14,
        rtol=0,
    )


def test_none_at_all():
    none = torch.zeros(0, 3)
    assert device_turns(none, SERIES_BELOW)[0].shape == (0, 3, 3)
    assert device_poses(torch.zeros(0, 6), torch.zeros(0, 4, 4), SERIES_BELOW).shape == (0, 4, 4)


def test_a_quarter_turn_about_z():
    R, _ = device_turns(torch.tensor([0.0, 0.0, torch.pi / 2], dtype=F64), SERIES_BELOW)
    expected = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=F64)
    torch.testing.assert_close(R, expected, atol=1e-15, rtol=0)
