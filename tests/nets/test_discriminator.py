"""The PatchGANs: their size, every value against numpy, what a number sees, and the condition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.nets.configs import parameter_count
from hrnfit.nets.discriminator import (
    DEFORMATION,
    DEFORMATION_GIVEN_INPUT,
    DISPLACEMENT,
    DISPLACEMENT_GIVEN_INPUT,
    DiscriminatorConfig,
    PatchDiscriminator,
)
from tests.nets.layouts import layout_of
from tests.nets.numpy_layers import (
    Weights,
    conv,
    instance_norm,
    picture,
    randomised,
    relu,
    under,
    weights_of,
)


def whole(x: np.ndarray, weights: Weights, layers: int) -> np.ndarray:
    model = under(weights, "model")
    x = relu(conv(x, under(model, "0"), 2, 1), 0.2)
    for k in range(layers):
        stride = 2 if k < layers - 1 else 1
        x = relu(instance_norm(conv(x, under(model, str(2 + 3 * k)), stride, 1)), 0.2)
    return conv(x, under(model, str(2 + 3 * layers)), 1, 1)


@pytest.mark.parametrize(
    ("config", "inputs"),
    [
        (DEFORMATION, 3),
        (DEFORMATION_GIVEN_INPUT, 9),
        (DISPLACEMENT, 1),
        (DISPLACEMENT_GIVEN_INPUT, 10),
    ],
)
def test_layout_and_size(config, inputs):
    with torch.device("meta"):
        network = PatchDiscriminator(config)
    widths = {"0": (64, inputs), "2": (128, 64), "5": (256, 128), "8": (512, 256), "11": (1, 512)}
    expected = {}
    for name, (outputs, before) in widths.items():
        expected[f"model.{name}.weight"] = (outputs, before, 4, 4)
        expected[f"model.{name}.bias"] = (outputs,)
    assert layout_of(network) == expected
    pairs = (inputs * 64, 64 * 128, 128 * 256, 256 * 512, 512)
    assert parameter_count(config) == 16 * sum(pairs) + 64 + 128 + 256 + 512 + 1


@pytest.mark.parametrize(("layers", "size"), [(1, 8), (3, 32), (4, 48)])
def test_whole_network(layers, size):
    network = randomised(PatchDiscriminator(DiscriminatorConfig(2, width=2, layers=layers)))
    x = picture(2, 2, size, size)
    expected = whole(x.numpy(), weights_of(network), layers)
    assert np.abs(network(x).detach().numpy() - expected).max() < 1e-8


def test_channels_stop_growing_at_eight_times_the_first():
    network = PatchDiscriminator(DiscriminatorConfig(1, width=2, layers=5))
    assert [m.out_channels for m in network.model if hasattr(m, "out_channels")] == [
        2, 4, 8, 16, 16, 16, 1,
    ]  # fmt: skip


def test_one_number_sees_70_pixels():
    network = randomised(PatchDiscriminator(DiscriminatorConfig(1, width=2)))
    plain = torch.nn.Sequential(  # the normalisation sees the whole picture
        *(m for m in network.model if not isinstance(m, torch.nn.InstanceNorm2d))
    )
    x = picture(1, 1, 128, 128).requires_grad_()
    (gradient,) = torch.autograd.grad(plain(x)[0, 0, 7, 7], x)
    reached = gradient[0, 0].abs() > 0
    assert int(reached.any(0).sum()) == int(reached.any(1).sum()) == 70


def test_condition_follows_the_map():
    network = randomised(PatchDiscriminator(DiscriminatorConfig(5, width=2)))
    maps, condition = picture(2, 2, 32, 32), picture(2, 3, 32, 32, seed=2)
    joined = network(torch.cat([maps, condition], 1))
    assert torch.equal(network(maps, condition), joined)
    alone = torch.cat([network(m[None], c[None]) for m, c in zip(maps, condition, strict=True)])
    assert torch.allclose(joined, alone, atol=1e-12)


def test_wrong_channels_and_too_small_maps():
    network = PatchDiscriminator(DiscriminatorConfig(5, width=2))
    with pytest.raises(ValueError, match="expected 5 channels with the condition's, got 2 and 0"):
        network(torch.zeros(1, 2, 32, 32))
    with pytest.raises(ValueError, match="got 5 and 3; a conditional discriminator"):
        network(torch.zeros(1, 5, 32, 32), torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="at least 24 px, got 20 x 32"):
        network(torch.zeros(1, 5, 20, 32))
    assert network(torch.zeros(1, 5, 24, 24)).shape == (1, 1, 1, 1)


def test_settings_out_of_range():
    with pytest.raises(ValueError, match=r"discriminator.layers: .* from 1 to 6, got 7"):
        DiscriminatorConfig(3, layers=7)
