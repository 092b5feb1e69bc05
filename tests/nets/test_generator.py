"""The generators: the released layout, and every value against a formulation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.nets.configs import parameter_count
from hrnfit.nets.generator import GeneratorConfig, ResidualBlock, ResnetGenerator
from tests.nets import layouts
from tests.nets.numpy_layers import (
    Weights,
    conv,
    instance_norm,
    picture,
    randomised,
    reflected,
    relu,
    transposed_conv,
    under,
    weights_of,
)

SMALL = GeneratorConfig(inputs=4, outputs=2, width=3, blocks=2)


def residual(x: np.ndarray, weights: Weights) -> np.ndarray:
    inside = relu(instance_norm(conv(reflected(x, 1), under(weights, "conv_block.1"))))
    return x + instance_norm(conv(reflected(inside, 1), under(weights, "conv_block.6")))


def whole(x: np.ndarray, weights: Weights, blocks: int = 9) -> np.ndarray:
    model = under(weights, "model")
    x = relu(instance_norm(conv(reflected(x, 3), under(model, "1"))))
    for name in ("4", "7"):
        x = relu(instance_norm(conv(x, under(model, name), 2, 1)))
    for i in range(blocks):
        x = residual(x, under(model, f"{10 + i}"))
    for i in (0, 3):
        x = relu(instance_norm(transposed_conv(x, under(model, f"{10 + blocks + i}"))))
    return np.tanh(conv(reflected(x, 3), under(model, f"{10 + blocks + 7}")))


@pytest.mark.parametrize(
    ("inputs", "outputs", "count"), [(6, 3, 11_387_587), (9, 1, 11_390_721)], ids=["mid", "high"]
)
def test_layout_is_the_released_one(inputs, outputs, count):
    config = GeneratorConfig(inputs, outputs)
    with torch.device("meta"):
        assert layouts.layout_of(ResnetGenerator(config)) == layouts.generator(inputs, outputs)
    assert parameter_count(config) == count


def test_residual_block():
    block = randomised(ResidualBlock(5))
    x = picture(2, 5, 6, 7)
    expected = residual(x.numpy(), weights_of(block))
    assert np.abs(block(x).detach().numpy() - expected).max() < 1e-10


@pytest.mark.parametrize(("size", "blocks"), [(8, 2), (20, 1), (8, 9)])
def test_whole_network(size, blocks):
    network = randomised(ResnetGenerator(GeneratorConfig(4, 2, width=2, blocks=blocks)))
    x = picture(2, 4, size, size)
    expected = whole(x.numpy(), weights_of(network), blocks)
    found = network(x).detach().numpy()
    assert found.shape == (2, 2, size, size)
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() < 1e-8


def test_sides_may_differ_and_a_mirrored_map_is_another_one():
    network = randomised(ResnetGenerator(SMALL))
    x = picture(1, 4, 8, 12)
    assert network(x).shape == (1, 2, 8, 12)
    assert (network(x.flip(-1)).flip(-1) - network(x)).abs().max() > 1e-3


def test_dropout_only_while_training():
    network = randomised(ResnetGenerator(SMALL))
    x = picture(1, 4, 16, 16)
    assert torch.equal(network(x), network(x))
    network.train()
    assert (network(x) - network(x)).abs().max() > 1e-3


def test_a_picture_does_not_depend_on_its_batch():
    network = randomised(ResnetGenerator(SMALL))
    x = picture(3, 4, 16, 16)
    alone = torch.cat([network(one[None]) for one in x])
    assert torch.allclose(network(x), alone, atol=1e-12)


def test_fresh_weights_are_small_and_biases_zero():
    torch.manual_seed(0)
    network = ResnetGenerator(GeneratorConfig(6, 3, width=16, blocks=1))
    weights = network.model[10].conv_block[1]
    assert float(weights.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert bool((weights.bias == 0).all())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 16, 16), r"maps: expected \(B, 4, H, W\), got \(1, 3, 16, 16\)"),
        ((1, 4, 16, 18), "multiples of 4, at least 8 px, got 16 x 18"),
        ((1, 4, 4, 4), "at least 8 px, got 4 x 4"),
    ],
)
def test_maps_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        ResnetGenerator(SMALL)(torch.zeros(shape))


def test_settings_out_of_range():
    with pytest.raises(ValueError, match=r"generator.blocks: .* from 1 to 64, got 0"):
        GeneratorConfig(6, 3, blocks=0)
