"""ArcFace's backbone: the released layout, and every value against a formulation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.nets.arcface import ArcFace, ArcFaceConfig, ImprovedBlock
from hrnfit.nets.configs import parameter_count
from tests.nets import layouts
from tests.nets.numpy_layers import (
    Weights,
    batch_norm,
    conv,
    picture,
    prelu,
    randomised,
    under,
    weights_of,
)

SMALL = ArcFaceConfig(width=1, depths=(1, 2, 1, 1), embedding=6)


def block(x: np.ndarray, weights: Weights, stride: int) -> np.ndarray:
    inside = conv(batch_norm(x, under(weights, "bn1")), under(weights, "conv1"), pad=1)
    inside = prelu(batch_norm(inside, under(weights, "bn2")), under(weights, "prelu"))
    inside = conv(inside, under(weights, "conv2"), stride, 1)
    if "downsample.0.weight" in weights:
        x = conv(x, under(weights, "downsample.0"), stride)
        x = batch_norm(x, under(weights, "downsample.1"))
    return batch_norm(inside, under(weights, "bn3")) + x


def whole(x: np.ndarray, weights: Weights, depths: tuple[int, ...]) -> np.ndarray:
    x = batch_norm(conv(x, under(weights, "conv1"), pad=1), under(weights, "bn1"))
    x = prelu(x, under(weights, "prelu"))
    for layer, depth in enumerate(depths, 1):
        for i in range(depth):
            x = block(x, under(weights, f"layer{layer}.{i}"), stride=2 if i == 0 else 1)
    flat = batch_norm(x, under(weights, "bn2")).reshape(len(x), -1)
    full = under(weights, "fc")
    return batch_norm(flat @ full["weight"].T + full["bias"], under(weights, "features"))


def test_layout_is_the_released_one():
    with torch.device("meta"):
        network = ArcFace(ArcFaceConfig())
    assert layouts.layout_of(network) == layouts.arcface()
    assert round(parameter_count(ArcFaceConfig()) / 1e6, 2) == 43.59


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 4, 2), (3, 6, 2)])
def test_block(inputs, outputs, stride):
    module = randomised(ImprovedBlock(inputs, outputs, stride))
    x = picture(2, inputs, 7, 8)
    expected = block(x.numpy(), weights_of(module), stride)
    assert np.abs(module(x).detach().numpy() - expected).max() < 1e-10


@pytest.mark.parametrize("depths", [(1, 2, 1, 1), (1, 1, 3, 1)])
def test_whole_network(depths):
    network = randomised(ArcFace(ArcFaceConfig(width=1, depths=depths, embedding=6)))
    x = picture(2, 3, 112, 112)
    expected = whole(x.numpy(), weights_of(network), depths)
    assert expected.shape == (2, 6)
    assert np.abs(network(x).detach().numpy() - expected).max() < 1e-9


def test_batch_and_repetition_change_nothing():
    network = randomised(ArcFace(SMALL))
    x = picture(2, 3, 112, 112)
    together = network(x)
    assert torch.equal(together, network(x))
    assert torch.allclose(together, torch.cat([network(one[None]) for one in x]), atol=1e-12)


def test_the_last_scale_does_not_learn():
    frozen = [n for n, p in ArcFace(SMALL).named_parameters() if not p.requires_grad]
    assert frozen == ["features.weight"]


def test_pictures_that_are_not_aligned():
    with pytest.raises(ValueError, match=r"expected \(B, 3, 112, 112\), got .*; align them by"):
        ArcFace(SMALL)(torch.zeros(1, 3, 224, 224))


def test_settings_out_of_range():
    with pytest.raises(ValueError, match=r"arcface.embedding: .* from 1 to 4096, got 0"):
        ArcFaceConfig(embedding=0)
