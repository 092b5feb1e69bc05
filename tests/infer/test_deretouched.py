"""The de-retouched albedo: eq. 3 to 6 by hand, its laws and its bounds."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.infer.deretouched import (
    PAPER,
    RELEASED,
    Phi,
    deretouched_albedo,
    detail_factor,
    soft_light,
)
from hrnfit.io.image import srgb_from_linear

F64 = torch.float64


def random_skin(generator, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Smooth albedo, detail (a factor) and shading, in linear light."""
    draw = [torch.rand(*shape, dtype=F64, generator=generator) for _ in range(3)]
    return 0.3 + 0.2 * draw[0], 0.8 + 0.4 * draw[1], 0.6 + 0.6 * draw[2]


def test_phi_by_hand():
    smooth = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=F64)
    torch.testing.assert_close(PAPER(smooth), torch.tensor([1e6, 1 / 0.001001, 1 / 0.125001, 1 / 1.000001], dtype=F64))  # fmt: skip
    torch.testing.assert_close(RELEASED(smooth), torch.tensor([1e6, 1e-3, 8e-6, 1e-6], dtype=F64))
    assert Phi(1.0, 0.5)(torch.tensor(0.5)).item() == pytest.approx(1 / 0.625)


def test_the_printed_form_washes_detail_out_and_the_released_one_keeps_it():
    """T = 0.3, T0 = 0.25: T / T0 is 1.2; with 1 / 0.25^3 = 64 on both sides it is 1.0008."""
    texture, smooth = torch.tensor(0.3, dtype=F64), torch.tensor(0.25, dtype=F64)
    assert detail_factor(texture, smooth, PAPER).item() == pytest.approx(1.000778, abs=1e-6)
    assert detail_factor(texture, smooth, RELEASED).item() == pytest.approx(1.19995, abs=1e-5)


def test_soft_light_by_hand():
    texture = torch.tensor([0.2, 0.2, 0.2, 0.0, 1.0])
    strength = torch.tensor([0.5, 0.0, 1.0, 0.3, 0.3])
    expected = torch.tensor([0.2, 0.04, 0.36, 0.0, 1.0])
    torch.testing.assert_close(soft_light(texture, strength), expected)


@pytest.mark.parametrize("shape", [(5,), (3, 8, 8), (8, 8, 3), (2, 3, 4, 4)])
def test_the_shading_of_both_albedos_is_one(generator, shape):
    """Eq. 3 and 4: what S makes of A' is the texture, and A' is the albedo with its detail."""
    albedo, detail, shading = random_skin(generator, *shape)
    texture = srgb_from_linear(albedo * detail * shading)
    smooth = srgb_from_linear(albedo * shading)
    got = deretouched_albedo(albedo, texture, smooth)
    torch.testing.assert_close(got, albedo * detail, rtol=1e-3, atol=0)
    torch.testing.assert_close(got * shading, albedo * detail * shading, rtol=1e-3, atol=0)


def test_under_constant_light_the_ratio_is_that_of_the_textures(generator):
    albedo, detail, _ = random_skin(generator, 64)
    got = deretouched_albedo(albedo, srgb_from_linear(albedo * detail), srgb_from_linear(albedo))
    torch.testing.assert_close(got / albedo, detail, rtol=1e-3, atol=0)


def test_brightness_of_the_light_cancels_where_it_is_bright(generator):
    albedo, detail, shading = random_skin(generator, 64)
    made = [
        deretouched_albedo(albedo, *(srgb_from_linear(f * albedo * x) for x in (detail * shading, shading)))
        for f in (1.0, 0.7)
    ]  # fmt: skip
    torch.testing.assert_close(*made, rtol=1e-3, atol=0)


def test_nothing_retouched_changes_nothing(generator):
    albedo, _, shading = random_skin(generator, 64)
    texture = srgb_from_linear(albedo * shading)
    smooth = soft_light(texture, torch.full_like(texture, 0.5))
    torch.testing.assert_close(deretouched_albedo(albedo, texture, smooth), albedo)


def test_noise_in_the_dark_does_not_reach_the_albedo(generator):
    albedo = torch.full((4096,), 0.4, dtype=F64)
    smooth = torch.full_like(albedo, 0.02)  # sRGB: below a tenth of a percent of linear light
    texture = (smooth + 0.02 * torch.randn(4096, dtype=F64, generator=generator)).clamp(0, 1)
    quiet = deretouched_albedo(albedo, texture, smooth)
    loud = deretouched_albedo(albedo, texture, smooth, Phi(1e12))
    assert (quiet - albedo).abs().max() < 1e-3
    assert (loud - albedo).abs().max() > 0.3


def test_it_stays_within_zero_and_one(generator):
    draw = [torch.rand(10_000, dtype=F64, generator=generator) for _ in range(2)]
    texture, smooth = 1.2 * draw[0] - 0.1, 1.2 * draw[1] - 0.1  # interpolation may overshoot
    texture[:2], smooth[:2] = 0.0, 0.0
    got = deretouched_albedo(torch.full_like(texture, 0.5), texture, smooth)
    assert got.isfinite().all()
    assert got.min() >= 0
    assert got.max() <= 1
    assert got[0] == 0.5


def test_gradient(generator):
    albedo, detail, shading = random_skin(generator, 6)
    smooth, texture = albedo * shading, albedo * detail * shading
    inputs = tuple(x.requires_grad_() for x in (albedo, texture, smooth))
    assert gradcheck(deretouched_albedo, inputs)
    assert gradcheck(soft_light, (texture, 0.2 + 0.5 * detail.detach().requires_grad_()))


def test_the_gradient_is_finite_at_zero():
    zero = torch.zeros(3, dtype=F64, requires_grad=True)
    deretouched_albedo(torch.full((3,), 0.5, dtype=F64), zero, zero).sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def test_shapes_that_differ_are_explained():
    with pytest.raises(ValueError, match=r"albedo \(4, 4, 3\).*resize the albedo"):
        deretouched_albedo.__wrapped__(*(torch.ones(n, n, 3) for n in (4, 8, 8)))
