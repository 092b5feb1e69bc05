"""One texture through the de-retouching network: the factor that its blend asks for, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hrnfit.infer.deretouch_step import retouched_albedo
from hrnfit.io.image import linear_from_srgb, srgb_from_linear
from hrnfit.nets.deretouch import DeretouchConfig, DeretouchNet

ALBEDO, TEXTURE, BLEND = 0.4, 0.6, 0.25
SMOOTH = (1 - 2 * BLEND) * TEXTURE**2 + 2 * BLEND * TEXTURE


def network() -> DeretouchNet:
    """Answers `BLEND` everywhere."""
    made = DeretouchNet(DeretouchConfig(4))
    nn.init.zeros_(made.outc.conv.weight)
    nn.init.constant_(made.outc.conv.bias, math.log(BLEND / (1 - BLEND)))
    return made.eval().requires_grad_(False)


def linear(value: float) -> float:
    return float(linear_from_srgb(torch.tensor(value)))


@pytest.mark.parametrize("convention", ["hrnfit", "released"])
def test_the_factor_is_texture_over_smooth_texture(convention):
    """Ours as a ratio of linear light, the released code's as one of sRGB numbers; phi is 1e-6 / T0^3."""
    albedo = torch.full((16, 16, 3), ALBEDO)
    texture = torch.full((3, 32, 32), TEXTURE)
    found = retouched_albedo(network(), convention, albedo, texture)
    if convention == "hrnfit":
        expected = ALBEDO * linear(TEXTURE) / linear(SMOOTH)
    else:
        encoded = float(srgb_from_linear(torch.tensor(ALBEDO)))
        expected = linear(min(encoded * TEXTURE / SMOOTH, 1.0))
    assert found.shape == (32, 32, 3)
    torch.testing.assert_close(found, torch.full((32, 32, 3), expected), atol=3e-4, rtol=0)


@pytest.mark.parametrize("convention", ["hrnfit", "released"])
def test_black_and_bright_textures_stay_within_a_reflectance(convention):
    albedo = torch.full((8, 8, 3), 0.9)
    texture = torch.cat([torch.zeros(3, 16, 32), torch.ones(3, 16, 32)], 1)
    found = retouched_albedo(network(), convention, albedo, texture)
    assert bool(torch.isfinite(found).all())
    assert float(found.min()) >= 0.0
    assert float(found.max()) <= 1.0
