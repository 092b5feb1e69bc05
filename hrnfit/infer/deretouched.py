"""The de-retouched albedo: what the retouching network took off the texture, put onto the albedo.

T0 = A0 S and T' = A' S with one shading S, so A' = A0 B with B = (T' + phi) / (T0 + phi) and phi(T0) a
guard against division by what is near 0 (HRN, eq. 3 to 6). The network gives the strength m of a soft-light
blend, T0 = (1 - 2 m) T'^2 + 2 m T'.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from hrnfit.io.image import linear_from_srgb


@dataclass(frozen=True)
class Phi:
    """phi(T0) = 1 / (scale T0^3 + epsilon)."""

    scale: float
    epsilon: float = 1e-6

    def __call__(self, smooth: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """For values of T0 from 0 to 1; at most 1 / epsilon."""
        return 1.0 / (self.scale * smooth.clamp_min(0.0) ** 3 + self.epsilon)


PAPER = Phi(1.0)
"""Eq. 6 as printed: near 1 or more for any T0, so that B stays near 1 and the detail is lost."""
RELEASED = Phi(1e6)
"""The released code's; in linear light it begins to hold B back where T0 falls below 0.03."""


def soft_light(texture: Float[Tensor, "*S"], strength: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """The retouched texture T0 of a texture (sRGB 0..1) and the network's m (0..1); 0.5 changes nothing."""
    return (1.0 - 2.0 * strength) * texture.square() + 2.0 * strength * texture


def detail_factor(
    texture: Float[Tensor, "*S"], smooth: Float[Tensor, "*S"], phi: Phi
) -> Float[Tensor, "*S"]:
    """B of eq. 5 in whatever light its arguments are; at least 0."""
    guard = phi(smooth)
    return (texture.clamp_min(0.0) + guard) / (smooth.clamp_min(0.0) + guard)


def deretouched_albedo(
    albedo: Float[Tensor, "*S"],
    texture: Float[Tensor, "*S"],
    smooth: Float[Tensor, "*S"],
    phi: Phi = RELEASED,
) -> Float[Tensor, "*S"]:
    """A', linear RGB in 0..1, of an albedo A0 (linear RGB) and textures T' and T0 (sRGB 0..1).

    The ratio is taken in linear light, where eq. 3 and 4 hold. On synthetic faces with T0 the true shading
    times the smooth albedo, root mean square errors of log A' under light that makes T0 0.25, 0.025 and
    0.005 (noise 0.004), against 0.101 of A0 itself:

        linear, scale 1e6    0.025  0.081  0.100
        linear, scale 1      0.099  0.101  0.101   the paper's
        linear, scale 1e10   0.026  0.157  0.413   no guard
        sRGB,   scale 1e3    0.025  0.081  0.099   the best of sRGB: the same guard in its own units
        sRGB,   scale 1e6    0.026  0.212  0.895   the released code's
        sRGB ratio on linear A0, 1e6  0.057  0.111  0.441

    ValueError when the shapes differ.
    """
    if not albedo.shape == texture.shape == smooth.shape:
        raise ValueError(
            f"deretouched_albedo: albedo {tuple(albedo.shape)}, texture {tuple(texture.shape)} and smooth "
            f"texture {tuple(smooth.shape)} must have one shape; resize the albedo to the texture's map"
        )
    factor = detail_factor(linear_from_srgb(texture), linear_from_srgb(smooth), phi)
    return (albedo * factor).clamp(0.0, 1.0)
