"""The networks' layers once more, in numpy and scipy, from their definitions: what the tests compare with.

Arrays are (B, C, H, W) float64; weights are a dictionary of arrays under the names of a state_dict.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.signal import correlate
from torch import nn

Weights = Mapping[str, np.ndarray]
EPSILON = 1e-5


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in float64 and evaluation mode, every parameter and running statistic random."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    with torch.no_grad():
        for name, value in network.state_dict(keep_vars=True).items():
            if name.endswith("num_batches_tracked"):
                continue
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if value.ndim > 1:
                value.copy_(noise / (value[0].numel() ** 0.5))
            elif name.endswith("running_var"):
                value.copy_(0.5 + noise.square())
            else:
                value.copy_(0.5 + 0.3 * noise)
    return network


def weights_of(network: nn.Module) -> dict[str, np.ndarray]:
    return {k: v.detach().numpy() for k, v in network.state_dict().items()}


def under(weights: Weights, prefix: str) -> dict[str, np.ndarray]:
    """The entries below a name, without it."""
    cut = prefix + "."
    found = {k[len(cut) :]: v for k, v in weights.items() if k.startswith(cut)}
    assert found, f"no weights under {prefix}"
    return found


def picture(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def conv(x: np.ndarray, weights: Weights, stride: int = 1, pad: int = 0) -> np.ndarray:
    """Correlation with zeros around, then every `stride`-th value, plus the bias."""
    kernel, bias = weights["weight"], weights.get("bias")
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = []
    for one in x:
        maps = [correlate(one, k, mode="valid", method="direct")[0] for k in kernel]
        rows.append(np.stack(maps)[:, ::stride, ::stride])
    out = np.stack(rows)
    return out if bias is None else out + bias[:, None, None]


def transposed_conv(x: np.ndarray, weights: Weights) -> np.ndarray:
    """Stride 2, kernel 3, padding 1, output padding 1: every input value stamps the kernel."""
    kernel, bias = weights["weight"], weights["bias"]  # (in, out, 3, 3)
    batch, channels, height, width = x.shape
    out = np.zeros((batch, kernel.shape[1], 2 * height + 2, 2 * width + 2))
    for b in range(batch):
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    stamp = x[b, c, i, j] * kernel[c]
                    out[b, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += stamp
    return out[:, :, 1 : 2 * height + 1, 1 : 2 * width + 1] + bias[:, None, None]


def batch_norm(x: np.ndarray, weights: Weights) -> np.ndarray:
    """With the running statistics."""
    shape = (-1,) + (1,) * (x.ndim - 2)
    mean, variance, scale, shift = (
        weights[n].reshape(shape) for n in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + EPSILON) * scale + shift


def instance_norm(x: np.ndarray) -> np.ndarray:
    """Each channel of each picture to mean 0 and variance 1."""
    mean = x.mean((2, 3), keepdims=True)
    variance = ((x - mean) ** 2).mean((2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + EPSILON)


def relu(x: np.ndarray, slope: float = 0.0) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


def prelu(x: np.ndarray, weights: Weights) -> np.ndarray:
    return np.where(x > 0, x, weights["weight"][:, None, None] * x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def reflected(x: np.ndarray, pad: int) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="reflect")


def largest(x: np.ndarray, size: int, stride: int, pad: int) -> np.ndarray:
    """Maximum over windows."""
    sides = ((0, 0), (0, 0), (pad, pad), (pad, pad))
    x = np.pad(x, sides, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].max((-2, -1))


def corner_aligned(x: np.ndarray) -> np.ndarray:
    """Twice as fine, first and last values kept."""
    n = x.shape[-1]
    assert x.shape[-2] == n
    rows = _interpolation(np.linspace(0, n - 1, 2 * n), n)
    return rows @ x @ rows.T


def centre_aligned(x: np.ndarray, size: int) -> np.ndarray:
    """Another resolution of a square map, its texels' centres at +0.5."""
    n = x.shape[-1]
    assert x.shape[-2] == n
    at = (np.arange(size) + 0.5) * n / size - 0.5
    rows = _interpolation(at.clip(0, n - 1), n)
    return rows @ x @ rows.T


def _interpolation(at: np.ndarray, n: int) -> np.ndarray:
    """Matrix of linear interpolation of n values at positions."""
    return np.stack([np.interp(at, np.arange(n), unit) for unit in np.eye(n)], axis=1)
