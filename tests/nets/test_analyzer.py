"""The analyzer: the released layout, and every value against a formulation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.nets.analyzer import AnalyzerConfig, Bottleneck, FaceAnalyzer
from hrnfit.nets.configs import parameter_count
from tests.nets import layouts
from tests.nets.numpy_layers import (
    Weights,
    batch_norm,
    conv,
    largest,
    picture,
    randomised,
    relu,
    under,
    weights_of,
)

SMALL = AnalyzerConfig(identity=5, expression=4, albedo=3, width=2, depths=(2, 1, 2, 1))


def bottleneck(x: np.ndarray, weights: Weights, stride: int) -> np.ndarray:
    def normalised(i: int, y: np.ndarray, s: int = 1, pad: int = 0) -> np.ndarray:
        return batch_norm(conv(y, under(weights, f"conv{i}"), s, pad), under(weights, f"bn{i}"))

    inside = normalised(3, relu(normalised(2, relu(normalised(1, x)), stride, 1)))
    if "downsample.0.weight" in weights:
        x = batch_norm(
            conv(x, under(weights, "downsample.0"), stride), under(weights, "downsample.1")
        )
    return relu(inside + x)


def whole(x: np.ndarray, weights: Weights, depths: tuple[int, ...]) -> np.ndarray:
    trunk = under(weights, "backbone")
    x = relu(batch_norm(conv(x, under(trunk, "conv1"), 2, 3), under(trunk, "bn1")))
    x = largest(x, 3, 2, 1)
    for layer, depth in enumerate(depths, 1):
        for block in range(depth):
            stride = 2 if layer > 1 and block == 0 else 1
            x = bottleneck(x, under(trunk, f"layer{layer}.{block}"), stride)
    mean = x.mean((2, 3))
    heads = [under(weights, f"final_layers.{i}") for i in range(7)]
    return np.concatenate([mean @ h["weight"][:, :, 0, 0].T + h["bias"] for h in heads], axis=1)


def test_layout_is_the_released_one():
    with torch.device("meta"):
        network = FaceAnalyzer(AnalyzerConfig())
    assert layouts.layout_of(network) == layouts.analyzer()
    # ResNet-50 has 25,557,032 parameters, 2,049,000 of them in its classifier
    assert parameter_count(AnalyzerConfig()) == 25_557_032 - 2_049_000 + 257 * 2049
    assert AnalyzerConfig().coefficients == 257
    assert network.size == 224


@pytest.mark.parametrize(
    ("inputs", "width", "stride"),
    [(12, 3, 1), (8, 3, 1), (12, 3, 2)],
    ids=["plain", "wider", "strided"],
)
def test_bottleneck(inputs, width, stride):
    block = randomised(Bottleneck(inputs, width, stride))
    x = picture(2, inputs, 7, 8)
    assert (block.downsample is None) is (stride == 1 and inputs == 4 * width)
    expected = bottleneck(x.numpy(), weights_of(block), stride)
    assert np.abs(block(x).detach().numpy() - expected).max() < 1e-10


@pytest.mark.parametrize("depths", [(2, 1, 2, 1), (1, 1, 1, 3)])
def test_whole_network(depths):
    config = AnalyzerConfig(identity=5, expression=4, albedo=3, width=2, depths=depths)
    network = randomised(FaceAnalyzer(config))
    x = picture(2, 3, 64, 64)
    found = network(x).detach().numpy()
    assert found.shape == (2, 5 + 4 + 3 + 3 + 27 + 3)
    assert np.abs(found - whole(x.numpy(), weights_of(network), depths)).max() < 1e-9


def test_a_fresh_analyzer_says_zero():
    network = FaceAnalyzer(SMALL).eval()
    assert torch.equal(network(torch.rand(1, 3, 32, 32)), torch.zeros(1, SMALL.coefficients))


def test_heads_keep_their_order():
    network = randomised(FaceAnalyzer(SMALL))
    x = picture(1, 3, 32, 32)
    before = network(x)
    with torch.no_grad():
        network.final_layers[4].bias += 1.0  # the light's
    change = (network(x) - before).detach()
    start = 5 + 4 + 3 + 3
    assert torch.allclose(change[:, start : start + 27], torch.ones(1, 27).double())
    assert float(change.abs().sum()) == pytest.approx(27.0)


def test_batch_and_repetition_change_nothing():
    network = randomised(FaceAnalyzer(SMALL))
    x = picture(3, 3, 32, 40)
    together = network(x)
    assert torch.equal(together, network(x))
    assert torch.allclose(together, torch.cat([network(one[None]) for one in x]), atol=1e-12)


def test_gradient_reaches_the_picture():
    network = randomised(FaceAnalyzer(SMALL))
    x = picture(1, 3, 32, 32).requires_grad_()
    (gradient,) = torch.autograd.grad(network(x).sum(), x)
    step = picture(1, 3, 32, 32, seed=5)
    ends = [network(x.detach() + s * step).sum().detach() for s in (1e-6, -1e-6)]
    slope = float(ends[0] - ends[1]) / 2e-6
    assert float((gradient * step).sum()) == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 64, 64), r"images: expected \(B, 3, H, W\)"),
        ((1, 3, 16, 64), "at least 32 px, got 16 x 64"),
    ],
)
def test_pictures_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        FaceAnalyzer(SMALL)(torch.zeros(shape))


def test_settings_out_of_range():
    with pytest.raises(ValueError, match=r"analyzer.width: .* from 1 to 4096, got 0"):
        AnalyzerConfig(width=0)
    with pytest.raises(ValueError, match=r"analyzer.depths\[2\]: .* from 1 to 64, got 65"):
        AnalyzerConfig(depths=(3, 4, 65, 3))
