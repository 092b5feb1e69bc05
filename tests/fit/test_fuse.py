"""Fusion: no dilution, no effect of duplicates, growing confidence."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.fuse import fuse, robust_mean, view_confidence, view_weights

F64 = torch.float64
USED = torch.ones(12, 12, dtype=torch.bool)


def random_maps(generator, views: int = 3, size: int = 12) -> torch.Tensor:
    return 0.2 * torch.randn(views, size, size, dtype=F64, generator=generator)


def test_weights_by_hand():
    visible = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.5])[:, None, None]
    cosine = torch.tensor([1.0, 0.6, 0.2, 1.0, 1.0])[:, None, None]
    # (0.6 - 0.2) / 0.8 = 0.5, squared
    weights = view_weights(visible, cosine).flatten()
    torch.testing.assert_close(weights, torch.tensor([1.0, 0.25, 0.0, 0.0, 0.5]))
    assert view_weights(torch.ones(1, 1, 1), torch.full((1, 1, 1), -0.5)).item() == 0.0


def test_a_texel_that_one_of_n_views_sees_keeps_its_full_value(generator):
    maps = random_maps(generator, views=5)
    weights = torch.zeros_like(maps)
    seer = torch.randint(0, 5, (12, 12), generator=generator)
    weights.scatter_(0, seer[None], torch.rand(1, 12, 12, dtype=F64, generator=generator) + 0.01)
    fused = fuse(maps, weights, USED).displacement
    assert torch.equal(fused, maps.gather(0, seer[None])[0])


def test_an_unseen_view_may_hold_anything(generator):
    maps = random_maps(generator)
    maps[1] = float("nan")
    weights = torch.ones_like(maps)
    weights[1] = 0.0
    fused = fuse(maps, weights, USED)
    assert fused.displacement.isfinite().all()
    torch.testing.assert_close(fused.displacement, fuse(maps[::2], weights[::2], USED).displacement)


def test_duplicates_of_all_views_do_not_change_the_map(generator):
    maps = random_maps(generator)
    weights = torch.rand(maps.shape, dtype=F64, generator=generator)
    once = fuse(maps, weights, USED)
    twice = fuse(maps.repeat(2, 1, 1), weights.repeat(2, 1, 1), USED)
    torch.testing.assert_close(twice.displacement, once.displacement)
    assert (twice.confidence > once.confidence).all()


def test_equal_maps_fuse_to_themselves(generator):
    one = random_maps(generator, views=1)
    weights = torch.rand(4, 12, 12, dtype=F64, generator=generator) + 0.01
    torch.testing.assert_close(fuse(one.repeat(4, 1, 1), weights, USED).displacement, one[0])


def test_order_of_views_does_not_matter(generator):
    maps, weights = random_maps(generator), torch.rand(3, 12, 12, dtype=F64, generator=generator)
    there, back = fuse(maps, weights, USED), fuse(maps.flip(0), weights.flip(0), USED)
    torch.testing.assert_close(there.displacement, back.displacement)
    torch.testing.assert_close(there.confidence, back.confidence)


def test_weighted_mean_by_hand_and_spread():
    maps = torch.tensor([0.0, 0.04])[:, None, None].double()
    weights = torch.tensor([3.0, 1.0])[:, None, None].double() / 4
    mean, spread = robust_mean(maps, weights, agreement=1e6)
    assert mean.item() == pytest.approx(0.01)
    assert spread.item() == pytest.approx(0.04 * (3 / 16) ** 0.5)


def test_one_wrong_view_of_three_loses_its_say():
    maps = torch.tensor([0.1, 0.12, 5.0])[:, None, None].double()
    mean, _ = robust_mean(maps, torch.ones_like(maps), agreement=0.3, steps=30)
    assert mean.item() == pytest.approx(0.11, abs=0.06)


def test_confidence_by_hand_and_with_views():
    weights = torch.ones(3, 1, 1)
    assert view_confidence(weights[:1]).item() == pytest.approx(0.7)
    assert view_confidence(weights[:2]).item() == pytest.approx(0.91)
    assert view_confidence(weights).item() == pytest.approx(0.973)
    assert view_confidence(0 * weights).item() == 0.0


def test_disagreement_lowers_confidence_and_the_unseen_has_none():
    agree = torch.tensor([0.1, 0.1])[:, None, None].expand(2, 12, 12).double()
    differ = torch.tensor([-0.5, 0.5])[:, None, None].expand(2, 12, 12).double()
    weights = torch.ones(2, 12, 12, dtype=F64)
    weights[:, :4] = 0.0
    sure, unsure = fuse(agree, weights, USED), fuse(differ, weights, USED)
    assert (unsure.confidence[4:] < 0.5 * sure.confidence[4:]).all()
    assert not sure.confidence[:4].any()
    torch.testing.assert_close(sure.displacement, torch.full((12, 12), 0.1, dtype=F64))


def test_off_the_chart_is_zero():
    used = USED.clone()
    used[:, 6:] = False
    fused = fuse(torch.ones(1, 12, 12), torch.ones(1, 12, 12), used)
    assert not fused.displacement[:, 6:].any()
    assert not fused.confidence[:, 6:].any()
    assert (fused.displacement[:, :6] == 1).all()


def test_gradient(generator):
    maps = random_maps(generator, views=2, size=3).requires_grad_()
    weights = torch.rand(2, 3, 3, dtype=F64, generator=generator)
    weights[:, 1, 1] = 0.0
    assert torch.autograd.gradcheck(lambda m: robust_mean(m, weights, 0.3)[0], maps)


def test_shapes_that_differ_are_explained():
    with pytest.raises(ValueError, match="one map per view"):
        fuse.__wrapped__(torch.zeros(1, 4, 4), torch.zeros(2, 4, 4), USED[:4, :4])
