"""The de-retouched albedo as the released code computes it (HRN, eq. 3-6, with its own epsilon).

With the texture map T and the network's blend layer m, the retouched texture is the soft-light blend
T0 = (1 - 2 m) T^2 + 2 m T, and the albedo gains the detail that T0 has lost:

    A' = A (T + q) / (T0 + q),    q = 1 / (1e6 T0^3 + 1e-6).

The paper prints q = 1 / (T0^3 + 1e-6), a million times as much. All maps are sRGB 0..1.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

NETWORK_SIZE = 512
"""Pixels per side of what the U-Net sees and gives."""


def blend_layer(
    network: Callable[[Tensor], Tensor], texture: Float[Tensor, "3 S S"]
) -> Float[Tensor, "3 S S"]:
    """The network's blend layer of a texture map.

    network: (1, 3, 512, 512) in -1..1 to the same shape in 0..1, its sigmoid included.
    """
    side = texture.shape[-1]
    large = _resized(texture[None] * 2.0 - 1.0, NETWORK_SIZE)
    return _resized(network(large), side)[0]


def deretouched_albedo(
    albedo: Float[Tensor, "3 S S"],
    texture: Float[Tensor, "3 S S"],
    blend: Float[Tensor, "3 S S"],
) -> Float[Tensor, "3 S S"]:
    """A' of the model's albedo map, the texture map and the blend layer; a blend of 1/2 changes nothing."""
    retouched = (1.0 - 2.0 * blend) * texture * texture + 2.0 * blend * texture
    q = 1.0 / (1e6 * retouched**3 + 1e-6)
    return albedo * (texture + q) / (retouched + q)


def _resized(maps: Float[Tensor, "1 C h h"], side: int) -> Float[Tensor, "1 C H H"]:
    """Bilinear, pixel areas aligned, without a low-pass before shrinking."""
    return functional.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
