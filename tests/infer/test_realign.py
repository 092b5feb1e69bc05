"""The flow within the map that re-aligns a texture: identity, a shift by hand, and its law."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.infer.own_maps import OwnMaps
from hrnfit.infer.realign import realigned, reverse_flow
from tests.infer.flat import card_before_wall, card_model, centres, flat_maps, ramps, square
from tests.infer.test_own_maps import photograph, sheet_maps, smooth_texture, turned_sheet, whole


def own(size: int) -> torch.Tensor:
    """Column and row of the centres, texels."""
    return size * torch.stack(centres(size), -1)


@pytest.mark.parametrize("yaw", [0.0, 40.0])
def test_no_deformation_is_no_flow(yaw):
    view = sheet_maps().view(turned_sheet(yaw))
    flow = reverse_flow(view, view)
    torch.testing.assert_close(flow.places, own(96), atol=1e-3, rtol=0)
    assert (flow.defined <= view.seen).all()
    assert flow.defined.sum() > 0.95 * view.seen.sum()


@pytest.mark.parametrize("rounds", [1, 6])
def test_a_shift_by_hand(rounds):
    """A plane of 1 dm on 32 texels that moves by 1/8 dm to the right and 1/16 down: 4 and 2 texels."""
    maps = flat_maps(32)
    before, after = maps.view(square()), maps.view(square() + torch.tensor([0.125, -0.0625, 0]))
    flow = reverse_flow(before, after, rounds)
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[:30, :28] = True  # texels beyond look past the end of the chart
    # q on the very last centre may fall either way
    assert torch.equal(flow.defined[:29, :27], inside[:29, :27])
    assert not flow.defined[30:].any()
    assert not flow.defined[:, 28:].any()
    expected = own(32) + torch.tensor([4.0, 2.0])
    at = flow.defined
    torch.testing.assert_close(flow.places[at], expected[at], atol=2e-3, rtol=0)
    assert torch.equal(flow.places[~at], own(32)[~at])


def bent(posed: torch.Tensor) -> torch.Tensor:
    """A smooth deformation of some millimetres."""
    x, y = posed[:, 0], posed[:, 1]
    wave = torch.stack([torch.sin(3 * y), torch.cos(4 * x), torch.sin(2 * x + 3 * y)], 1)
    return posed + 0.03 * wave


def test_the_place_found_projects_where_the_deformed_texel_does():
    maps, posed = sheet_maps(), turned_sheet(20.0)
    before, after = maps.view(posed), maps.view(bent(posed))
    flow = reverse_flow(before, after)
    pixels = maps.rasterizer.sample_texture(before.pixels, flow.places[None] / 96)[0]
    miss = (pixels - after.pixels).norm(dim=-1)
    moved = (before.pixels - after.pixels).norm(dim=-1)
    assert moved[flow.defined].median() > 3
    assert miss[flow.defined].max() < 0.06
    assert flow.defined.sum() > 0.8 * after.seen.sum()


def test_warping_agrees_with_sampling_the_picture_again():
    maps, posed = sheet_maps(), turned_sheet(20.0)
    picture = photograph(smooth_texture(384), bent(posed), 512)
    image = picture[:3]
    flow = reverse_flow(maps.view(posed), maps.view(bent(posed)))
    stale, again = maps.texture(image, posed), maps.texture(image, bent(posed))
    warped = realigned(stale, flow, maps.rasterizer)
    sound = whole(maps, picture, posed).float()[None]  # of the stale texture, brought along
    at = flow.defined & whole(maps, picture, bent(posed))
    at &= realigned(sound, flow, maps.rasterizer)[0] > 0.999
    assert at.sum() > 0.8 * flow.defined.sum()
    off = (warped - again)[:, at].square().mean().sqrt()
    assert off < 0.1 * (stale - again)[:, at].square().mean().sqrt()
    assert off < 5e-3


def test_what_is_hidden_before_or_after_is_undefined_and_filled():
    maps = OwnMaps.of(card_model(), 64)
    posed = card_before_wall()
    aside = posed.clone()
    aside[4:, 0] += 0.15  # the card lets a part of the wall go and hides another
    before, after = maps.view(posed), maps.view(aside)
    flow = reverse_flow(before, after)
    assert not (flow.defined & ~after.seen).any()
    wall = torch.zeros_like(flow.defined)
    wall[:, :32] = True
    assert not (flow.defined & wall & ~before.seen).any()
    assert (wall & after.seen & ~before.seen).any()
    texture = realigned(torch.full((3, 64, 64), 0.3), flow, maps.rasterizer)
    torch.testing.assert_close(texture, torch.full((3, 64, 64), 0.3))


def test_the_flow_never_looks_across_a_seam():
    """Two squares side by side in the chart, 0.3 dm apart in the picture: what moves into the gap has no
    colour there, though the cell between the squares' last texels spans it."""
    maps = OwnMaps.of(card_model(), 64)
    apart = torch.tensor([0.45, 0.0, 0.0])
    posed = torch.cat([square(0.3) - apart, square(0.3) + apart])
    flow = reverse_flow(maps.view(posed), maps.view(posed + torch.tensor([0.05, 0.0, 0.0])))
    column, start = flow.places[..., 0], own(64)[..., 0]
    assert flow.defined[:, :28].all()
    assert not flow.defined[:, 30:32].any()
    assert ((column < 32) == (start < 32))[flow.defined].all()


def test_double_precision_and_other_channels():
    maps = flat_maps(16)
    maps = replace(maps, chart=replace(maps.chart, barycentric=maps.chart.barycentric.double()))
    view = maps.view(square().double())
    flow = reverse_flow(view, view)
    assert flow.places.dtype == torch.float64
    assert realigned(torch.ones(1, 16, 16).double(), flow, maps.rasterizer).shape == (1, 16, 16)
    assert maps.texture(ramps(64, torch.float64), square().double()).dtype == torch.float64


def test_nothing_seen_gives_no_flow():
    maps = flat_maps(16)
    away = maps.view(square() * torch.tensor([-1.0, 1.0, 1.0]))
    flow = reverse_flow(away, maps.view(square()))
    assert not flow.defined.any()
    assert not realigned(torch.ones(3, 16, 16), flow, maps.rasterizer).any()


def test_views_of_different_crops_or_maps_are_refused():
    maps = flat_maps(16)
    with pytest.raises(ValueError, match="crops of 64 and 128 px; take one crop"):
        reverse_flow(maps.view(square(), 64), maps.view(square(), 128))
    with pytest.raises(
        ValueError, match=r"expected \(16, 16, 2\), got \(8, 8, 2\), take|maps of one"
    ):
        reverse_flow(maps.view(square()), flat_maps(8).view(square()))
