"""Blur and slopes in plain torch against kornia's."""

from __future__ import annotations

import pytest
import torch

from hrnfit.energy.filters import (
    gaussian_blur,
    gaussian_weights,
    plain_slopes,
    separable_blur,
    slopes,
)


def planes() -> torch.Tensor:
    return torch.rand(2, 3, 17, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("border", ["reflect", "constant"])
@pytest.mark.parametrize("width", [0.6, 1.7])
def test_blur_is_kornias(border, width):
    theirs = gaussian_blur(planes(), width, border)
    assert torch.allclose(separable_blur(planes(), width, border), theirs, atol=1e-6)


def test_weights_by_hand():
    weights = gaussian_weights(2.0, 2, torch.float64, torch.device("cpu"))
    far, near = 2.718281828459045**-0.5, 2.718281828459045**-0.125
    whole = 1.0 + 2.0 * near + 2.0 * far
    assert weights.tolist() == pytest.approx([w / whole for w in (far, near, 1.0, near, far)])


def test_slopes_are_kornias_and_those_of_a_plane():
    assert torch.allclose(plain_slopes(planes()), slopes(planes()), atol=1e-6)
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    plane = plain_slopes((2.0 * x - 3.0 * y)[None, None])[0, 0, :, 1:-1, 1:-1]
    assert torch.equal(plane[0], torch.full_like(plane[0], 2.0))
    assert torch.equal(plane[1], torch.full_like(plane[1], -3.0))
