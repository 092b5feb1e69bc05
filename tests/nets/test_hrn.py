"""HRN as one file holds it: its keys, and the maps' values from positions, textures and masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.configs import parameter_count
from hrnfit.nets.generator import GeneratorConfig
from hrnfit.nets.hrn import RELEASED, Hrn, HrnConfig
from tests.nets import layouts
from tests.nets.numpy_layers import centre_aligned, picture, randomised, under, weights_of
from tests.nets.test_generator import whole as generated

ANALYZER = AnalyzerConfig(identity=4, expression=3, albedo=2, width=1, depths=(1, 1, 1, 1))
SMALL = HrnConfig(ANALYZER, GeneratorConfig(6, 3, 1, 1), GeneratorConfig(9, 1, 1, 1))


def small(alpha: float = 0.7, beta: float = 0.3) -> Hrn:
    network = randomised(Hrn(SMALL))
    with torch.no_grad():
        network.alpha.fill_(alpha)
        network.beta.fill_(beta)
    return network


def maps(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Position, texture and mask."""
    texture = picture(batch, 3, size, size, seed=2).sigmoid()
    mask = picture(batch, size, size, seed=3).sigmoid()
    return picture(batch, 3, size, size), texture, mask


def test_layout_is_the_released_one():
    with torch.device("meta"):
        network = Hrn(RELEASED)
    assert layouts.layout_of(network) == layouts.hrn()
    assert parameter_count(RELEASED) == 24_034_625 + 11_387_587 + 11_390_721 + 2


def test_scales_start_at_a_hundredth():
    network = Hrn(SMALL)
    assert network.alpha.tolist() == network.beta.tolist() == [pytest.approx(0.01)]


def test_an_analyzer_alone_is_what_deep3d_holds():
    with torch.device("meta"):
        network = Hrn(HrnConfig(AnalyzerConfig(), None, None))
    expected = {f"net_recon.{name}": shape for name, shape in layouts.analyzer().items()}
    assert layouts.layout_of(network) == expected


def test_coefficients_are_the_analyzers():
    network, x = small(), picture(2, 3, 32, 32)
    assert torch.equal(network.coefficients(x), network.net_recon(x))


@pytest.mark.parametrize("size", [96, 64, 32])
def test_deformation(size):
    network, (position, texture, mask) = small(), maps(2, size)
    inputs = np.concatenate([position.numpy(), 2 * texture.numpy() - 1], axis=1)
    raw = generated(centre_aligned(inputs, 64), under(weights_of(network), "mid_net"), 1)
    expected = raw * 0.1 * 0.7 * centre_aligned(mask.numpy(), 64)[:, None]
    found = network.deformation(position, texture, mask).detach().numpy()
    assert found.shape == (2, 3, 64, 64)
    assert np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() < 1e-9


def test_displacement():
    network, (position, texture, mask) = small(), maps(2, 24)
    deformation = picture(2, 3, 64, 64, seed=4)
    finer = centre_aligned(deformation.numpy(), 24)
    inputs = np.concatenate([position.numpy(), 2 * texture.numpy() - 1, finer], axis=1)
    raw = generated(inputs, under(weights_of(network), "high_net"), 1)
    expected = raw * 0.1 * 0.3 * mask.numpy()[:, None]
    found = network.displacement(position, texture, deformation, mask).detach().numpy()
    assert found.shape == (2, 1, 24, 24)
    assert np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() < 1e-9


def test_maps_are_bounded_by_their_scales_and_zero_where_nothing_is_seen():
    network, (position, texture, _) = small(alpha=2.0), maps(1, 64)
    mask = torch.zeros(1, 64, 64, dtype=torch.float64)
    mask[:, 20:40] = 1.0
    offsets = network.deformation(position, texture, mask).detach()
    assert float(offsets.abs().max()) <= 0.2
    assert float(offsets.abs().max()) > 0.02
    assert bool((offsets[:, :, :20] == 0).all())
    heights = network.displacement(position, texture, offsets, mask).detach()
    assert float(heights.abs().max()) <= 0.03
    assert bool((heights[:, :, 40:] == 0).all())


def test_gradient_reaches_the_scales():
    network, (position, texture, mask) = small(), maps(1, 16)
    total = network.deformation(position, texture, mask).sum()
    (slope,) = torch.autograd.grad(total, network.alpha)
    assert float(slope) == pytest.approx(float(total.detach()) / 0.7)


def test_maps_that_do_not_go_together():
    network, (position, texture, mask) = small(), maps(2, 16)
    with pytest.raises(ValueError, match=r"position: expected \(2, 3, 16, 16\), got .* as mask"):
        network.deformation(position[:, :2], texture, mask)
    with pytest.raises(ValueError, match=r"texture: expected \(2, 3, 16, 16\)"):
        network.deformation(position, texture[:, :1], mask)
    with pytest.raises(ValueError, match=r"deformation: expected \(2, 3, D, D\)"):
        network.displacement(position, texture, picture(2, 1, 64, 64), mask)


def test_an_analyzer_alone_makes_no_maps():
    network, (position, texture, mask) = Hrn(HrnConfig(ANALYZER, None, None)), maps(1, 16)
    with pytest.raises(RuntimeError, match=r"deformation: .* hrnfit nets add hrn PATH"):
        network.deformation(position, texture, mask)
    with pytest.raises(RuntimeError, match=r"displacement: .* hrnfit nets add hrn PATH"):
        network.displacement(position, texture, picture(1, 3, 64, 64), mask)


def test_settings_that_do_not_go_together():
    with pytest.raises(ValueError, match=r"hrn.mid: expected 6 channels in and 3 out, got 9 and 3"):
        replace(SMALL, mid=GeneratorConfig(9, 3))
    with pytest.raises(ValueError, match=r"hrn.high: needs hrn.mid"):
        replace(SMALL, mid=None)
