"""Work in pieces gives what it gives at once."""

from __future__ import annotations

import pytest
import torch

from hrnfit.energy import pieces as pieces_module
from hrnfit.energy import shared_albedo
from hrnfit.energy.light_field import light_field
from hrnfit.energy.pieces import AT_ONCE, by_pieces, pieces
from hrnfit.energy.shared_albedo import (
    TexelSource,
    TexelViews,
    column_blocks,
    consensus,
    encoded_windows,
    read_texels,
)
from hrnfit.energy.texels import Texels


def test_ranges_cover_everything_once_and_stay_small(monkeypatch):
    monkeypatch.setattr(pieces_module, "AT_ONCE", 10)
    assert pieces(3, 7) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert pieces(3, 3) == [slice(0, 3)]
    assert pieces(20, 2) == [slice(0, 1), slice(1, 2)]
    assert pieces(3, 0) == [slice(0, 0)]


def test_the_usual_rig_is_one_piece():
    assert len(pieces(9, 200_000)) == 1
    assert len(pieces(16, AT_ONCE)) == 16


def test_parts_go_where_they_belong_along_each_dimension():
    x = torch.arange(12.0).view(2, 6)

    def function(at: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:, at], x[:, at].sum(0)

    ranges = [slice(0, 4), slice(4, 6)]
    whole, sums = by_pieces(function, ranges, (1, 0), 6)
    assert torch.equal(whole, x)
    assert torch.equal(sums, x.sum(0))


@pytest.fixture
def looks(generator):
    """Random windows of 3 views and 40 texels in front of them."""
    views, count, size = 3, 40, 16

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    channels = random(views, 10, size, size)
    channels[:, 9] = (channels[:, 9] > 0.1).double()
    x_cam = torch.cat([random(views, count, 2) - 0.5, 5.0 + random(views, count, 1)], -1)
    normal = torch.tensor([0.0, 0.0, -1.0]).double().expand(views, count, 3)
    K = torch.tensor([[40.0, 0, 8], [0, 40, 8], [0, 0, 1]]).double().expand(views, 3, 3)
    return TexelSource(channels), K, x_cam, normal, 5.5 * torch.ones(views, size, size).double()


def test_texels_light_consensus_and_equations_are_the_same_in_pieces(looks, monkeypatch, generator):
    def all_of() -> list[torch.Tensor]:
        seen = read_texels(*looks)
        raster = Texels(torch.zeros(40, 3).long(), torch.zeros(40, 3).double(), torch.arange(40), 8)
        light = light_field(seen, looks[3], raster, 0.2, 0.5)
        agreed = consensus(seen, light, 0.5)
        blocks = column_blocks(seen.jacobian, agreed)
        images, masks = looks[0].channels[:, :3].movedim(1, -1), looks[0].channels[:, 9]
        windows = encoded_windows(images, masks, 0.7)
        return [windows, *vars(seen).values(), light, *vars(agreed).values(), *blocks]

    once = all_of()
    monkeypatch.setattr(pieces_module, "AT_ONCE", 21)
    monkeypatch.setattr(shared_albedo, "PIXELS_AT_ONCE", 70)
    assert len(pieces(3, 40)) == 6
    assert len(pieces(8 * 8, 3, 70)) == 3
    for together, apart in zip(once, all_of(), strict=True):
        torch.testing.assert_close(apart, together, rtol=1e-12, atol=1e-12)


def test_pieces_can_be_differentiated(looks, monkeypatch):
    def gradient() -> torch.Tensor:
        x = looks[2].clone().requires_grad_()
        seen = read_texels(looks[0], looks[1], x, *looks[3:])
        agreed = consensus(seen, torch.zeros_like(seen.colour), 0.5)
        return torch.autograd.grad(agreed.energy, x)[0]

    once = gradient()
    monkeypatch.setattr(pieces_module, "AT_ONCE", 21)
    torch.testing.assert_close(gradient(), once)
    assert bool((once != 0).any())


def test_views_without_light_in_common_need_no_more():
    dark = TexelViews(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3, 3), torch.zeros(2, 4))
    agreed = consensus(dark, torch.zeros(2, 4, 3), 0.5)
    assert float(agreed.energy) == 0.0
