"""Looking between pixels in kernels, against torch: in Triton's interpreter, or on a device."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest

pytest.importorskip("triton")

import triton.language as tl

from hrnfit.energy.sample_kernels import between_pixels
from hrnfit.geometry.launched import kernel

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZE = 7


@kernel
def looked(plane, y, x, out, size, count, BLOCK: tl.constexpr):
    n = tl.arange(0, BLOCK)
    mask = n < count
    py, px = tl.load(y + n, mask=mask, other=0.0), tl.load(x + n, mask=mask, other=0.0)
    tl.store(out + n, between_pixels(plane, py, px, size, mask), mask=mask)


def test_inside_and_beyond_the_border(generator):
    plane = torch.rand(SIZE, SIZE, generator=generator).to(DEVICE)
    y, x = (SIZE + 3) * torch.rand(2, 60, generator=generator).to(DEVICE) - 2.0
    out = torch.empty_like(x)
    looked[(1,)](plane, y, x, out, SIZE, len(x), BLOCK=64)
    grid = torch.stack([x, y], -1) * (2 / (SIZE - 1)) - 1
    wanted = torch.nn.functional.grid_sample(
        plane[None, None], grid[None, None], padding_mode="border", align_corners=True
    )
    assert bool((y < 0).any() and (x > SIZE - 1).any())
    torch.testing.assert_close(out, wanted[0, 0, 0], atol=1e-6, rtol=0)
