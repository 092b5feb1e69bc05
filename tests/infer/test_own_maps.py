"""Maps in our convention: by hand on a flat square, and there and back on a face-like sheet."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.importers.deep3d import deep3d_camera
from hrnfit.infer.convention import MapConvention
from hrnfit.infer.own_maps import OwnMaps
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.texture import uv_raster
from tests.infer.flat import (
    FACES,
    SCALE,
    SQUARE_UV,
    card_before_wall,
    card_model,
    centres,
    flat_maps,
    flat_model,
    ramps,
    square,
)
from tests.model.faces import small_model


@cache
def sheet_maps() -> OwnMaps:
    return OwnMaps.of(small_model(), 96)


def turned_sheet(yaw: float) -> torch.Tensor:
    """The sheet in the analyzer's world, decimetres."""
    angle = math.radians(yaw)
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return small_model().mean @ turn.T / 100.0


def photograph(texture: torch.Tensor, posed: torch.Tensor, side: int) -> torch.Tensor:
    """The sheet with a texture (3, S, S) before black, and which pixels show it: (4, side, side)."""
    model, backend = small_model(), CpuRasterizer()
    camera = deep3d_camera(torch.float32).resize(side, side)
    points = torch.cat([camera.project(100 * posed), camera.depth(100 * posed)[:, None]], 1)
    raster = backend.rasterize(points[None], model.faces, side, side)
    uv = backend.interpolate(model.uv, raster, model.uv_faces)
    colour = backend.sample_texture(texture.movedim(0, -1), uv)[0]
    covered = (raster.triangle[0] >= 0).float()[..., None]
    return torch.cat([colour * covered, covered], -1).movedim(-1, 0)


def whole(maps: OwnMaps, picture: torch.Tensor, posed: torch.Tensor) -> torch.Tensor:
    """Texels seen whose four pixels all show the sheet, which ends in the open as no head does."""
    view = maps.view(posed, picture.shape[-1])
    return view.seen & (view.sample(picture[3:].movedim(0, -1), maps.rasterizer)[..., 0] > 0.999)


def smooth_texture(size: int) -> torch.Tensor:
    u, v = centres(size)
    waves = [torch.sin(9 * u + 4 * v), torch.cos(7 * v - 3 * u), torch.sin(11 * u * v)]
    return 0.5 + 0.4 * torch.stack(waves)


def test_it_offers_what_the_protocol_asks_for():
    asked = {n: f for n, f in vars(MapConvention).items() if not n.startswith("_")}
    assert len(asked) == 6
    for name, method in asked.items():
        ours, theirs = (inspect.signature(f).parameters for f in (getattr(OwnMaps, name), method))
        assert list(ours)[: len(theirs)] == list(theirs), name


def test_positions_lie_at_texel_centres():
    got = flat_maps(8).position_map(square(0.5, z=0.25))
    u, v = centres(8)
    torch.testing.assert_close(got, torch.stack([u - 0.5, 0.5 - v, torch.full_like(u, 0.25)]))


def test_positions_are_zero_outside_the_chart_and_differentiable():
    model = replace(flat_model(), uv=0.5 * SQUARE_UV)
    maps = OwnMaps.of(model, 8)
    assert not maps.position_map(square() + 3.0)[:, 4:].any()
    in_double = OwnMaps.of(replace(model, uv=0.5 * SQUARE_UV.double()), 4)
    assert gradcheck(in_double.position_map, square().double().requires_grad_())


@pytest.mark.parametrize("side", [64, 200, 512])
def test_a_ramp_is_read_where_the_texel_projects(side):
    """Bilinear look-up is exact on ramps: swapped weights or half a pixel would show."""
    got = flat_maps(16).texture(ramps(side), square(0.5))
    u, v = centres(16)
    expected = torch.stack([0.5 + SCALE * (u - 0.5), 0.5 + SCALE * (v - 0.5), 0 * u + 0.5])
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=0)


def test_a_row_between_two_pixels_weighs_the_nearer_more():
    """One texel at pixel row 3.25: three quarters of row 3 (its centre at 3.5) and a quarter of row 2."""
    image = torch.zeros(3, 8, 8)
    image[:, 3] = 1.0
    y = (0.5 - 3.25 / 8) / SCALE  # decimetres above the middle
    plane = square(0.05) + torch.tensor([0.0, y, 0.0])
    # pixels are larger than the plane: no pixel centre sees it, so visibility is asked for apart
    maps = flat_maps(1)
    sampled = maps.view(plane, 8).sample(image.movedim(0, -1), maps.rasterizer)
    torch.testing.assert_close(sampled, torch.full((1, 1, 3), 0.75), atol=1e-5, rtol=0)


@pytest.mark.parametrize("yaw", [-35.0, 0.0, 50.0])
def test_a_rendered_texture_comes_back_where_it_is_seen(yaw):
    maps, true = sheet_maps(), smooth_texture(96)
    posed = turned_sheet(yaw)
    picture = photograph(smooth_texture(384), posed, 512)
    got = maps.texture(picture[:3], posed)
    seen = whole(maps, picture, posed)
    assert seen.sum() > 0.4 * maps.chart.mask.sum()
    error = (got - true)[:, seen]
    assert error.square().mean().sqrt() < 2e-3
    assert error.abs().quantile(0.99) < 3e-3  # beyond: the rim of the nose before the cheek


def test_what_is_hidden_is_filled_within_what_is_seen():
    maps, posed = sheet_maps(), turned_sheet(60.0)
    got = maps.texture(photograph(smooth_texture(384), posed, 256)[:3], posed)
    seen = maps.view(posed, 256).seen
    assert (maps.chart.mask & ~seen).sum() > 500
    low, high = got[:, seen].amin(1), got[:, seen].amax(1)
    assert (got.amin((1, 2)) >= low - 0.02).all()
    assert (got.amax((1, 2)) <= high + 0.02).all()


def test_wall_behind_a_card_is_not_seen():
    maps = OwnMaps.of(card_model(), 64)
    weight = maps.view(card_before_wall(), 512).weight
    at = (torch.arange(64) + 0.5) / 64
    across = (4 * at[:32] - 1) * 0.6  # dm on the wall; the card's shadow there is 0.2 * 10 / 9
    down = (1 - 2 * at) * 0.6
    shadow = 0.2 * 10 / 9
    hidden = (across.abs()[None] < shadow) & (down.abs()[:, None] < shadow)
    clear = (across.abs()[None] > shadow + 0.1) | (down.abs()[:, None] > shadow + 0.1)
    assert hidden.any()
    assert not weight[:, :32][hidden].any()
    assert (weight[:, :32][clear] > 0).all()
    assert (weight[:, 32:] == 1).all()
    picture = torch.zeros(3, 512, 512)
    mask = maps.valid_mask(torch.ones(224, 224), card_before_wall())
    assert torch.equal(mask > 0, weight > 0)
    assert maps.texture(picture + 0.25, card_before_wall()).allclose(torch.tensor(0.25))


def test_the_valid_mask_rises_over_a_sixty_fourth():
    """Beside a hidden texel 0, then in steps of 64 / S to 1; the border of the chart is no edge."""
    maps = OwnMaps.of(card_model(), 256)
    mask = maps.valid_mask(torch.ones(224, 224), card_before_wall())
    row = mask[128, :64]  # to the right: into the shadow
    last = int((row > 0).nonzero()[-1])
    # the shadow ends at -0.2222 dm; texel 39 lies at (4 * 39.5 / 256 - 1) * 0.6 = -0.2297, 40 at -0.2203
    assert last == 38
    torch.testing.assert_close(row[last - 4 : last + 2], torch.tensor([1, 1, 0.75, 0.5, 0.25, 0.0]))
    assert (mask[:, 0] == 1).all()
    assert (mask[0] == 1).all()


def test_steep_skin_fades_out():
    """Turned by acos of 0.05, 0.2 and 0.5: no weight, half of it, all."""
    for cosine, expected in ((0.05, 0.0), (0.2, 0.5), (0.5, 1.0)):
        sine = math.sqrt(1 - cosine**2)
        turn = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        weight = flat_maps(33).view(square(0.02) @ turn.T, 2048).weight
        assert weight[16, 16].item() == pytest.approx(expected, abs=0.02)


def test_the_face_mask_multiplies_and_goes_on_beyond_the_chart():
    model = replace(flat_model(), uv=0.25 + 0.5 * SQUARE_UV)
    maps = OwnMaps.of(model, 64)
    mask = torch.zeros(224, 224)
    mask[:, :112] = 0.5
    got = maps.valid_mask(mask, square())
    torch.testing.assert_close(got[32, 16:30], torch.full((14,), 0.5))
    assert not got[32, 35:].any()
    torch.testing.assert_close(got[32, 12:16], torch.full((4,), 0.5))  # 64 / 16 texels on
    assert not got[32, :12].any()


def test_a_face_outside_the_picture_or_turned_away_has_no_maps():
    maps = flat_maps(16)
    for posed in (square() + torch.tensor([9.0, 0, 0]), square() * torch.tensor([-1.0, 1, 1])):
        assert not maps.valid_mask(torch.ones(224, 224), posed).any()
        assert not maps.texture(ramps(64), posed).any()


def test_offsets_are_read_at_texel_centres():
    """A map that is linear in u and v between its centres, at the places of vertices."""
    places = torch.tensor([[0.2, 0.3], [0.7, 0.3], [0.7, 0.6], [0.2, 0.6]])
    maps = OwnMaps.of(replace(flat_model(), uv=places), 16, 8)
    u, v = centres(8)
    got = maps.vertex_offsets(torch.stack([u, v, u - 2 * v]))
    x, y = places.unbind(1)
    torch.testing.assert_close(got, torch.stack([x, y, x - 2 * y], 1))


def test_vertices_on_a_seam_take_the_mean_of_their_places():
    """Two triangles that share an edge on the surface, apart in the chart."""
    uv = torch.tensor([[0.1, 0.1], [0.4, 0.9], [0.4, 0.1], [0.6, 0.1], [0.6, 0.9], [0.9, 0.9]])
    uv_faces = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32)
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]], dtype=torch.int32)
    maps = OwnMaps.of(replace(flat_model(), faces=faces, uv=uv, uv_faces=uv_faces), 32, 16)
    u, _ = centres(16)
    got = maps.vertex_offsets(u.expand(3, -1, -1))[:, 0]
    torch.testing.assert_close(got, torch.tensor([0.35, 0.4, 0.65, 0.6]))
    position = maps.position_map(square())
    assert position.shape == (3, 32, 32)
    assert maps.chart.mask[:, :16].any()
    assert maps.chart.mask[:, 16:].any()


def test_lengths_become_millimetres_and_keep_their_sign(generator):
    maps = flat_maps(16)
    deformation = torch.randn(3, 8, 8, generator=generator)
    got = maps.deformation(deformation)
    assert got.shape == (8, 8, 3)
    torch.testing.assert_close(got[2, 5], 100 * deformation[:, 2, 5])
    torch.testing.assert_close(maps.operator(got) / 100, maps.vertex_offsets(deformation))
    displacement = torch.randn(1, 16, 16, generator=generator)
    torch.testing.assert_close(maps.displacement(displacement, square()), 100 * displacement[0])


def test_a_chart_that_exists_is_used_and_one_of_another_size_refused():
    chart = uv_raster(SQUARE_UV, FACES, FACES, 16, 16)
    assert OwnMaps.of(flat_model(), 16, chart=chart).chart is chart
    with pytest.raises(ValueError, match=r"chart: expected \(32, 32\), got \(16, 16\)"):
        OwnMaps.of(flat_model(), 32, chart=chart)


def test_a_deformation_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"expected \(..., 8, 8, 3\) mm, got \(16, 16, 3\)"):
        flat_maps().vertex_offsets(torch.zeros(3, 16, 16))
