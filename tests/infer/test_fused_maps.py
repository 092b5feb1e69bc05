"""Maps of several views made one: no dilution, and a fill that fades."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.infer.fused_maps import FADE, merge_maps

F64 = torch.float64


def random_maps(generator, views: int, size: int = 12, channels: int = 3) -> torch.Tensor:
    return torch.randn(views, size, size, channels, dtype=F64, generator=generator)


def test_a_mean_by_hand():
    maps = torch.tensor([1.0, 2.0, 10.0]).reshape(3, 1, 1, 1)
    merged = merge_maps(maps, torch.tensor([3.0, 1.0, 0.0]).reshape(3, 1, 1))
    assert merged.values.item() == pytest.approx(1.25)
    assert merged.weight.item() == pytest.approx(4.0)


@pytest.mark.parametrize("views", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_texel_that_one_of_n_views_sees_keeps_its_value_exactly(generator, views, dtype):
    maps = random_maps(generator, views).to(dtype)
    seer = torch.randint(0, views, (1, 12, 12), generator=generator)
    trust = torch.rand(1, 12, 12, dtype=dtype, generator=generator) + 1e-3
    weights = torch.zeros(views, 12, 12, dtype=dtype).scatter(0, seer, trust)
    merged = merge_maps(maps, weights)
    expected = maps.gather(0, seer[..., None].expand(-1, -1, -1, 3))[0]
    assert torch.equal(merged.values, expected)
    assert torch.equal(merged.weight, trust[0])


def test_an_unseen_view_may_hold_anything(generator):
    maps = random_maps(generator, 3)
    weights = torch.rand(3, 12, 12, dtype=F64, generator=generator) + 0.1
    weights[1] = 0.0
    expected = merge_maps(maps[::2], weights[::2]).values
    maps[1] = float("nan")
    torch.testing.assert_close(merge_maps(maps, weights).values, expected)


def test_order_and_scale_of_weights_do_not_matter(generator):
    maps = random_maps(generator, 3)
    weights = torch.rand(3, 12, 12, dtype=F64, generator=generator)
    once = merge_maps(maps, weights).values
    torch.testing.assert_close(merge_maps(maps.flip(0), 7 * weights.flip(0)).values, once)
    torch.testing.assert_close(merge_maps(maps[:1].repeat(4, 1, 1, 1), weights[:1].repeat(4, 1, 1)).values, maps[0])  # fmt: skip


def test_the_fill_goes_on_smoothly_and_fades():
    """One column seen: the harmonic fill is constant, so what is left is the fading by hand."""
    weights = torch.zeros(1, 64, 64, dtype=F64)
    weights[0, :, 0] = 1.0
    merged = merge_maps(torch.full((1, 64, 64, 2), 2.0, dtype=F64), weights)
    for column in (1, 8, 40):
        expected = 2.0 * math.exp(-((column / (FADE * 64)) ** 2))
        torch.testing.assert_close(
            merged.values[:, column], torch.full((64, 2), expected, dtype=F64)
        )
    assert merged.values[:, -1].abs().max() < 1e-20
    assert not merged.weight[:, 1:].any()


def test_a_small_hole_is_filled_from_its_rim():
    """A plane with a hole of 3 x 3: the fading takes at most 1 - exp(-(2 / 8)^2) of it."""
    v, u = torch.meshgrid(*[torch.arange(64, dtype=F64)] * 2, indexing="ij")
    plane = (1 + 0.01 * u - 0.02 * v)[None, ..., None]
    weights = torch.ones(1, 64, 64, dtype=F64)
    weights[0, 30:33, 20:23] = 0.0
    values = merge_maps(torch.where(weights[..., None] > 0, plane, 9.0), weights).values
    hole = (values / plane[0])[30:33, 20:23]
    assert hole.min() > math.exp(-((2 / 8) ** 2)) - 1e-3
    assert hole.max() <= 1 + 1e-3


def test_nothing_seen_is_zero(generator):
    merged = merge_maps(random_maps(generator, 2), torch.zeros(2, 12, 12, dtype=F64))
    assert not merged.values.any()
    assert not merged.weight.any()


def test_gradient(generator):
    maps = random_maps(generator, 2, size=4, channels=1).requires_grad_()
    weights = torch.rand(2, 4, 4, dtype=F64, generator=generator) + 0.1
    hole = torch.ones(4, 4, dtype=F64)
    hole[1, 1] = 0.0
    weights = (weights * hole).requires_grad_()
    assert gradcheck(lambda m: merge_maps(m, weights.detach()).values, maps)
    shown = (weights.detach() > 0).all(0)
    assert gradcheck(lambda w: merge_maps(maps.detach(), w * hole).values[shown], weights)


def test_weights_that_do_not_fit_are_explained():
    maps = torch.zeros(2, 4, 4, 3)
    with pytest.raises(ValueError, match="one weight per view and texel"):
        merge_maps.__wrapped__(maps, torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="at least 0"):
        merge_maps(maps, torch.full((2, 4, 4), -0.1))
