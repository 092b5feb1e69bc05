"""The de-retoucher: the released layout, and every value against a formulation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.nets.configs import parameter_count
from hrnfit.nets.deretouch import DeretouchConfig, DeretouchNet, DoubleConv, Down, Up
from tests.nets import layouts
from tests.nets.numpy_layers import (
    Weights,
    batch_norm,
    conv,
    corner_aligned,
    largest,
    picture,
    randomised,
    relu,
    sigmoid,
    under,
    weights_of,
)

SMALL = DeretouchConfig(width=2)


def double(x: np.ndarray, weights: Weights) -> np.ndarray:
    for i in (0, 3):
        x = conv(x, under(weights, str(i)), pad=1)
        x = relu(batch_norm(x, under(weights, str(i + 1))))
    return x


def up(x: np.ndarray, skip: np.ndarray, weights: Weights) -> np.ndarray:
    joined = np.concatenate([skip, corner_aligned(x)], axis=1)
    return double(joined, under(weights, "conv.conv"))


def levels(x: np.ndarray, weights: Weights) -> list[np.ndarray]:
    """Features of up1 to up4."""
    skips = [double(x, under(weights, "inc.conv.conv"))]
    for k in range(1, 5):
        smaller = largest(skips[-1], 2, 2, 0)
        skips.append(double(smaller, under(weights, f"down{k}.mpconv.1.conv")))
    x, found = skips[4], []
    for k in range(1, 5):
        x = up(x, skips[4 - k], under(weights, f"up{k}"))
        found.append(x)
    return found


def head(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return sigmoid(conv(x, under(weights, f"{name}.conv")))


def test_layout_is_the_released_one():
    with torch.device("meta"):
        assert layouts.layout_of(DeretouchNet(DeretouchConfig())) == layouts.deretouch()
    assert parameter_count(DeretouchConfig()) == 13_397_007


def test_block_down():
    block = randomised(Down(3, 5))
    x = picture(2, 3, 8, 6)
    expected = double(largest(x.numpy(), 2, 2, 0), under(weights_of(block), "mpconv.1.conv"))
    assert np.abs(block(x).detach().numpy() - expected).max() < 1e-10


def test_block_up_joins_the_skip_before_the_finer_map():
    block = randomised(Up(5, 4))
    x, skip = picture(2, 3, 4, 4), picture(2, 2, 8, 8, seed=2)
    expected = up(x.numpy(), skip.numpy(), weights_of(block))
    assert np.abs(block(x, skip).detach().numpy() - expected).max() < 1e-10


def test_gradients_pass_the_joined_normalisation():
    """Values and gradients are those of the layers one after another, and training takes those."""
    block, x = randomised(DoubleConv(2, 3)), picture(2, 2, 5, 6).requires_grad_()
    inputs = [x, *block.parameters()]
    joined, plain = block(x), block.conv(x)
    assert torch.allclose(joined, plain, atol=1e-12)
    weight = picture(*plain.shape, seed=3)
    ours = torch.autograd.grad((joined * weight).sum(), inputs)
    theirs = torch.autograd.grad((plain * weight).sum(), inputs)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(ours, theirs, strict=True))
    block.train()
    assert (block(x) - joined).abs().max() > 0.01
    assert torch.equal(block(x), block.conv(x))


def test_whole_network_and_the_heads_beside_it():
    network = randomised(DeretouchNet(SMALL))
    x, weights = picture(2, 3, 32, 32), weights_of(network)
    expected = levels(x.numpy(), weights)
    main = head(expected[3], weights, "outc")
    assert np.abs(network(x).detach().numpy() - main).max() < 1e-9
    found = network.supervised(x)
    assert [tuple(f.shape[1:]) for f in found] == [
        (3, 32, 32),
        (3, 32, 32),
        (3, 16, 16),
        (3, 8, 8),
        (3, 4, 4),
    ]
    assert torch.equal(found[0], network(x))
    for k in range(1, 5):
        side = head(expected[4 - k], weights, f"dsoutc{k}")
        assert np.abs(found[k].detach().numpy() - side).max() < 1e-9


def test_another_width_repeated_and_in_a_batch():
    network = randomised(DeretouchNet(DeretouchConfig(width=3)))
    x = picture(3, 3, 16, 32)
    together = network(x).detach()
    assert torch.equal(together, network(x))
    alone = torch.cat([network(one[None]) for one in x])
    assert torch.allclose(together, alone, atol=1e-12)
    assert 0.0 < float(together.min()) < float(together.max()) < 1.0


def test_textures_that_do_not_fit():
    network = DeretouchNet(SMALL)
    with pytest.raises(ValueError, match=r"texture: expected \(B, 3, H, W\)"):
        network(torch.zeros(1, 4, 32, 32))
    with pytest.raises(ValueError, match="multiples of 16, at least 16 px, got 32 x 40"):
        network(torch.zeros(1, 3, 32, 40))


def test_settings_out_of_range():
    with pytest.raises(ValueError, match=r"deretouch.width: .* from 1 to 4096, got 5000"):
        DeretouchConfig(width=5000)
