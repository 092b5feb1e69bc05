"""The inverse inside a kernel against torch: in Triton's interpreter, or on a device."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

import triton.language as tl

from hrnfit.geometry.definite_kernels import eliminated
from hrnfit.geometry.launched import kernel

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@kernel
def inverse(system, room, out, M, MP: tl.constexpr):
    """out = system^-1, both (M, M)."""
    r, c = tl.arange(0, MP)[:, None], tl.arange(0, MP)[None, :]  # pyright: ignore
    mask = (r < M) & (c < M)
    A = tl.load(system + r * M + c, mask=mask, other=0.0)  # pyright: ignore
    tl.store(out + r * M + c, eliminated(A, room, M, MP), mask=mask)


def inverse_of(system: torch.Tensor) -> torch.Tensor:
    M, wide = len(system), 1 << (len(system) - 1).bit_length()
    out, room = torch.empty_like(system), system.new_empty(wide + 2, wide)
    inverse[(1,)](system, room, out, M, MP=wide)
    return out


@pytest.mark.parametrize("size", [1, 11, 64])
def test_the_inverse_is_that_of_torch(size):
    rows = torch.randn(size, size, generator=torch.Generator().manual_seed(size)).double()
    system = (rows @ rows.mT + 0.1 * torch.eye(size).double()).to(DEVICE)
    found = inverse_of(system)
    assert torch.allclose(found @ system, torch.eye(size).to(found), atol=1e-9)


def test_what_is_not_definite_has_none():
    system = torch.diag(torch.tensor([2.0, -1.0, 3.0], dtype=torch.float64)).to(DEVICE)
    assert bool(inverse_of(system).isnan().any())
