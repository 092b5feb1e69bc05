"""The shared albedo: what a view reads, what the views agree on, and its derivatives."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from hrnfit.energy.photometric import VISIBLY_WRONG
from hrnfit.energy.shared_albedo import (
    DARK,
    OCCLUSION_MARGIN,
    Consensus,
    TexelSource,
    TexelViews,
    column_blocks,
    consensus,
    log_encoded,
    read_texels,
    smooth_offset,
    texel_source,
)
from hrnfit.energy.texels import Texels
from hrnfit.geometry.rotation import rotation_exp
from tests.energy.scene import working_views
from tests.fit.small_scene import face

DOUBLE = torch.float64
SIZE = 32
K = torch.tensor([[[300.0, 0, 15], [0, 310.0, 17], [0, 0, 1]]], dtype=DOUBLE)


def slope_source(along_x: float, along_y: float) -> TexelSource:
    """A window whose colour rises evenly: its true gradient is known everywhere."""
    centre = torch.arange(SIZE, dtype=DOUBLE) + 0.5
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    colour = torch.stack([along_x * x + along_y * y, 2 * along_x * x, -along_y * y])
    dx = torch.tensor([along_x, 2 * along_x, 0.0], dtype=DOUBLE)[:, None, None].expand_as(colour)
    dy = torch.tensor([along_y, 0.0, -along_y], dtype=DOUBLE)[:, None, None].expand_as(colour)
    return TexelSource(torch.cat([colour, dx, dy, torch.ones(1, SIZE, SIZE)])[None])


def read(source: TexelSource, x_cam: Tensor, depth: float = torch.inf, towards: float = -1.0):
    normal = torch.tensor([0.0, 0, towards], dtype=DOUBLE).expand_as(x_cam)
    surface = torch.full((len(x_cam), SIZE, SIZE), depth, dtype=DOUBLE)
    return read_texels(source, K.expand(len(x_cam), 3, 3), x_cam, normal, surface)


def test_colour_is_read_where_the_texel_projects():
    x_cam = torch.tensor([[[4.0, -3.0, 600.0]]], dtype=DOUBLE)
    px, py = 300 * 4 / 600 + 15, 310 * -3 / 600 + 17
    seen = read(slope_source(0.5, 0.25), x_cam)
    expected = torch.tensor([0.5 * px + 0.25 * py, px, -0.25 * py], dtype=DOUBLE)
    assert torch.allclose(seen.colour[0, 0], expected)
    assert seen.weight.item() == pytest.approx(1.0, abs=1e-3)


def test_jacobian_is_the_derivative_in_the_camera_frame():
    source = slope_source(0.5, 0.25)
    x_cam = torch.tensor([[[4.0, -3.0, 600.0], [-5.0, 2.0, 640.0]]], dtype=DOUBLE)
    numeric = torch.autograd.functional.jacobian(lambda x: read(source, x).colour, x_cam)
    seen = read(source, x_cam)
    for p in range(2):
        assert torch.allclose(seen.jacobian[0, p], numeric[0, p, :, 0, p], atol=1e-9)


@pytest.mark.parametrize(
    ("x", "depth", "towards", "counts"),
    [
        (0.0, torch.inf, -1.0, True),
        (0.0, 600.0 - 0.9 * OCCLUSION_MARGIN, -1.0, True),
        (0.0, 600.0 - 1.1 * OCCLUSION_MARGIN, -1.0, False),  # something is in front
        (0.0, torch.inf, 1.0, False),  # turned away
        (40.0, torch.inf, -1.0, False),  # beyond the window
    ],
)
def test_only_visible_texels_count(x, depth, towards, counts):
    seen = read(slope_source(1.0, 0.0), torch.tensor([[[x, 0.0, 600.0]]]).double(), depth, towards)
    assert (seen.weight.item() > 0.5) == counts


def test_texels_outside_the_mask_do_not_count():
    source = slope_source(1.0, 0.0)
    channels = source.channels.clone()
    channels[:, 9, :, :10] = 0.0
    x_cam = torch.tensor([[[-20.0, 0, 600.0], [4.0, 0, 600.0]]], dtype=DOUBLE)
    weight = read(TexelSource(channels), x_cam).weight[0]
    assert weight[0] == 0
    assert weight[1] > 0.9


def test_encoding_turns_a_change_of_light_into_an_offset():
    assert torch.allclose(log_encoded(torch.tensor([0.0, 1.0])), torch.tensor([0.0, 1.0]))
    skin = torch.tensor([0.1, 0.2, 0.4])
    step = log_encoded(2 * skin) - log_encoded(skin)
    assert torch.allclose(step, step.mean().expand(3), rtol=0.1)
    assert torch.equal(log_encoded(torch.tensor([-0.1])), torch.zeros(1))


def test_blur_does_not_mix_the_backdrop_in():
    """Beside a mask's border the colour is that of the skin, whatever lies outside."""
    masks = torch.ones(1, 16, 16)
    masks[:, :, :6] = 0.0
    images = torch.full((1, 16, 16, 3), 0.4)
    images[:, :, :6] = 0.9
    channels = texel_source(working_views(masks, images), 1.0).channels
    grey = float(log_encoded(torch.tensor(0.4))) / VISIBLY_WRONG
    assert torch.allclose(channels[:, :3, :, 6:], torch.tensor(grey), atol=1e-4)
    assert channels[:, 3:9, :, 6:].abs().max() < 1e-4


def test_a_grey_window_has_no_slope_and_blur_keeps_it():
    masks = torch.ones(2, 16, 16)
    for blur in (0.0, 1.0):
        channels = texel_source(working_views(masks), blur).channels
        grey = float(log_encoded(torch.tensor(0.5))) / VISIBLY_WRONG
        assert channels.shape == (2, 10, 16, 16)
        assert torch.allclose(channels[:, :3], torch.tensor(grey))
        assert channels[:, 3:9].abs().max() < 1e-5
        assert torch.equal(channels[:, 9], masks)


def test_slopes_of_a_window_are_per_pixel():
    encoded = torch.linspace(0.3, 0.6, 16).expand(1, 16, 16)  # along x
    linear = DARK * torch.expm1(encoded * math.log1p(1 / DARK))
    images = linear[..., None].repeat(1, 1, 1, 3)
    channels = texel_source(working_views(torch.ones(1, 16, 16), images), 0.0).channels
    per_pixel = 0.3 / 15 / VISIBLY_WRONG
    assert torch.allclose(channels[0, 3:6, 2:-2, 2:-2], torch.tensor(per_pixel), atol=1e-4)
    assert channels[0, 6:9, 2:-2, 2:-2].abs().max() < 1e-4


def random_texels(generator: torch.Generator, views: int = 3, texels: int = 7) -> TexelViews:
    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=DOUBLE)

    weight = torch.rand(views, texels, generator=generator, dtype=DOUBLE)
    return TexelViews(noise(views, texels, 3), noise(views, texels, 3, 3), weight)


def agree(texels: TexelViews, scale: float = 0.7, rounds: int = 3) -> Consensus:
    return consensus(texels, torch.zeros_like(texels.colour), scale, rounds)


def test_two_views_by_hand():
    """Colours 0 and 2 of equal weight: the mean is 1; |r|^2 = 1 in each, so with scale 1 the kernel
    gives 1/2, and the weight is 1 / (1 + 1)^2."""
    colour = torch.zeros(2, 1, 3, dtype=DOUBLE)
    colour[1, 0, 0] = 2.0
    texels = TexelViews(colour, torch.zeros(2, 1, 3, 3).double(), torch.ones(2, 1).double())
    agreed = agree(texels, scale=1.0)
    assert torch.allclose(agreed.mean, torch.tensor([[1.0, 0, 0]], dtype=DOUBLE))
    assert agreed.energy.item() == pytest.approx(0.5)
    assert agreed.weight.tolist() == [[0.25], [0.25]]
    assert agreed.seen.item() == 2.0


def test_views_that_agree_cost_nothing(generator):
    texels = random_texels(generator)
    same = replace(texels, colour=texels.colour[:1].expand_as(texels.colour))
    assert agree(same).energy.item() == pytest.approx(0.0, abs=1e-20)


def test_a_texel_that_one_view_sees_says_nothing(generator):
    texels = random_texels(generator)
    weight = texels.weight.clone()
    weight[1:, 2] = 0.0
    weight[:, 3] = 0.0
    agreed = agree(replace(texels, weight=weight))
    assert bool((agreed.weight[:, 2:4] == 0).all())
    kept = [p for p in range(7) if p not in (2, 3)]
    alone = agree(TexelViews(texels.colour[:, kept], texels.jacobian[:, kept], weight[:, kept]))
    assert agreed.energy.item() == pytest.approx(alone.energy.item())


def test_the_same_views_twice_cost_the_same(generator):
    texels = random_texels(generator)
    twice = TexelViews(*(torch.cat([part, part]) for part in vars(texels).values()))
    assert agree(twice).energy.item() == pytest.approx(agree(texels).energy.item())


def test_one_view_of_five_that_differs_is_outvoted(generator):
    colour = torch.zeros(5, 1, 3, dtype=DOUBLE)
    colour[4] = 5.0
    texels = TexelViews(colour, torch.zeros(5, 1, 3, 3).double(), torch.ones(5, 1).double())
    agreed = agree(texels, scale=0.5, rounds=10)
    assert agreed.mean.abs().max() < 0.05
    assert agreed.weight[4].item() < 1e-3 * agreed.weight[0].item()


def test_blocks_are_the_derivatives_with_weights_held(generator):
    """Colours linear in the texel's position; the albedo is eliminated, the weights are held."""
    texels = random_texels(generator)
    agreed = agree(texels)
    R = rotation_exp(torch.randn(3, 3, generator=generator, dtype=DOUBLE))
    hessian, gradient, centred = column_blocks(texels.jacobian @ R[:, None], agreed)

    def half_energy(x: Tensor) -> Tensor:
        colour = texels.colour + torch.einsum("vpci,vij,pj->vpc", texels.jacobian, R, x)
        w = (agreed.weight / agreed.seen)[..., None]
        return 0.5 * (w * (colour - (w * colour).sum(0) / w.sum(0)).square()).sum()

    zero = torch.zeros(7, 3, dtype=DOUBLE)
    numeric = torch.autograd.functional.jacobian(half_energy, zero)
    assert torch.allclose(gradient, numeric)
    full = torch.autograd.functional.hessian(half_energy, zero)
    for p in range(7):
        assert torch.allclose(hessian[p], full[p, :, p])
    weighted = (agreed.weight[..., None, None] * centred).sum(0)
    assert weighted.abs().max() < 1e-12


def test_gradient_is_half_that_of_the_robust_energy(generator):
    """With the mean converged, the envelope theorem makes the held weights exact."""
    texels = random_texels(generator)
    texels = replace(texels, colour=0.3 * texels.colour)
    R = torch.eye(3, dtype=DOUBLE).expand(3, 3, 3)
    agreed = agree(texels, rounds=200)
    _, gradient, _ = column_blocks(texels.jacobian @ R[:, None], agreed)

    def energy(x: Tensor) -> Tensor:
        colour = texels.colour + torch.einsum("vpci,pi->vpc", texels.jacobian, x)
        return agree(replace(texels, colour=colour), rounds=200).energy

    numeric = torch.autograd.functional.jacobian(energy, torch.zeros(7, 3, dtype=DOUBLE))
    assert torch.allclose(gradient, 0.5 * numeric, atol=1e-8)


@pytest.fixture(scope="module")
def chart() -> Texels:
    return Texels.of(face(), 64)


def skin(chart: Texels, generator: torch.Generator, views: int = 3) -> TexelViews:
    """Random skin that all views see alike."""
    p = len(chart.flat)
    colour = torch.rand(1, p, 3, generator=generator).expand(views, p, 3).clone()
    return TexelViews(colour, torch.zeros(views, p, 3, 3), torch.ones(views, p))


def test_brightness_of_a_view_is_taken_up_entirely(chart, generator):
    plain = skin(chart, generator)
    bright = torch.tensor([0.3, -0.1, 0.0])[:, None, None]
    texels = replace(plain, colour=plain.colour + bright)
    zero = torch.zeros_like(texels.colour)
    first = consensus(texels, zero, 0.6)
    offset = smooth_offset(texels, first, chart, 0.05)
    again = consensus(texels, offset, 0.6)
    assert first.energy > 0.01
    assert again.energy < 1e-8
    # only differences between views can be known
    assert torch.allclose(offset - offset.mean(0), (bright - bright.mean(0)).expand_as(offset), atol=1e-4)  # fmt: skip


def test_light_that_changes_slowly_is_taken_up_and_pores_are_not(chart, generator):
    plain = skin(chart, generator)
    slow = plain.colour.clone()
    slow[0] += (0.4 * (3.0 * chart.centres()[:, 0]).sin())[:, None]
    fast = plain.colour.clone()
    fast[0] += 0.4 * torch.randn(fast[0].shape, generator=generator)

    def left(colour: Tensor) -> float:
        texels = replace(plain, colour=colour)
        first = consensus(texels, torch.zeros_like(colour), 0.6)
        offset = smooth_offset(texels, first, chart, 0.04)
        return float(consensus(texels, offset, 0.6).energy / first.energy)

    assert left(slow) < 0.05
    assert left(fast) > 0.8


@pytest.mark.parametrize("size", [120, 130])
def test_coarse_smoothing_agrees_with_a_gaussian_at_full_size(size, generator):
    """For sizes that the coarse grid divides and for others: no shift, no loss of width."""
    texels, sigma = Texels.of(face(), size), 0.08
    plain = skin(texels, generator, views=2)
    bump = (texels.centres() - torch.tensor([0.4, 0.5])).square().sum(-1)
    colour = plain.colour.clone()
    colour[0] += 0.2 * torch.exp(-bump / (2 * 0.1**2))[:, None]
    seen = replace(plain, colour=colour)
    first = consensus(seen, torch.zeros_like(colour), 0.6)
    offset = smooth_offset(seen, first, texels, sigma)[0, :, 0]

    def smooth(values: Tensor) -> Tensor:
        wide = gaussian_filter(texels.square(values).numpy(), sigma * size, mode="constant")
        return torch.from_numpy(wide).flatten()[texels.flat]

    against, weight = first.residual[0, :, 0], first.weight[0]
    expected = smooth(against * weight) / smooth(weight)
    assert expected.max() > 0.05
    assert (offset - expected).abs().max() < 0.03 * expected.max()
