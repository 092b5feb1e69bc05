"""Light and albedo by kernels of our own: the alternation of `appearance.py` on a CUDA device, float32.

Nothing of size (V, P, 9) is written but the basis of the harmonics: a robust round of the light is two passes over
the texels and one over the lights, where plain torch takes 60 launches and 0.5 ms of products of few columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from hrnfit.energy.texels import Texels
from hrnfit.fit import appearance_kernels as kernels
from hrnfit.fit.albedo_solve import (
    COARSE,
    AppearanceSettings,
    coefficients_of,
)
from hrnfit.geometry.kept import kept_for_good
from hrnfit.geometry.launched import INTERPRETED, blocks, width_of
from hrnfit.geometry.tall import tall_product

SHARES = 4 if INTERPRETED else 32
"""Programs that share the texels of a view and a channel."""


def device_light(
    colour: Float[Tensor, "V P 3"],
    weight: Float[Tensor, "V P"],
    basis: Float[Tensor, "V P 9"],
    albedo: Float[Tensor, "P 3"],
    row: Int[Tensor, "V"],
    lights: int,
    ridge: float,
    step: int,
    rounds: int,
) -> Float[Tensor, "G 9 3"]:
    """`light_solve.all_lights` from every `step`-th texel."""
    V, P = weight.shape
    colour, weight, basis, albedo = (x.contiguous() for x in (colour, weight, basis, albedo))
    count, padded = -(-P // step), 1 << (V - 1).bit_length()
    light = colour.new_zeros(lights, 9, 3)
    sums = colour.new_empty(V, 3, SHARES, 256)
    mass, missed = colour.new_empty(2, V, 3, SHARES)
    grid, block = (SHARES, V, 3), width_of(64)
    for i in range(rounds):
        kernels.gather[grid](
            colour, weight, basis, albedo, row, light, missed, mass, sums, P, step, count, V,
            FIRST=i == 0, VP=padded, NB=SHARES, BLOCK=block,
        )  # fmt: skip
        kernels.solve[(lights, 3)](sums, row, light, V, ridge, NB=SHARES, num_warps=8)
        if i < rounds - 1:
            kernels.miss[grid](
                colour, weight, basis, albedo, row, light, missed, P, step, count,
                NB=SHARES, BLOCK=block,
            )  # fmt: skip
    return light


@dataclass(frozen=True)
class AlbedoSums:
    """What an albedo is the ratio of, over the views."""

    top: Float[Tensor, "P 3"]
    """Weight times shading times colour."""
    bottom: Float[Tensor, "P 3"]
    """Weight times shading squared."""
    seen: Float[Tensor, "P"]
    """Weight where enough light falls."""
    planes: Float[Tensor, "6 S S"]
    """`top` and `bottom` in UV."""


def albedo_sums(
    colour: Float[Tensor, "V P 3"],
    weight: Float[Tensor, "V P"],
    basis: Float[Tensor, "V P 9"],
    light: Float[Tensor, "G 9 3"],
    row: Int[Tensor, "V"],
    texels: Texels,
    least: float,
) -> AlbedoSums:
    """The sums under a light. least: shading below which a texel says nothing."""
    V, P = weight.shape
    colour, weight, basis, light = (x.contiguous() for x in (colour, weight, basis, light))
    top, bottom = colour.new_empty(2, P, 3)
    seen, planes = colour.new_empty(P), colour.new_zeros(6, texels.size, texels.size)
    block = width_of(128)
    kernels.ratio[blocks(P, block)](
        colour, weight, basis, row, light, texels.flat, top, bottom, seen, planes,
        P, texels.size**2, V, least, BLOCK=block,
    )  # fmt: skip
    return AlbedoSums(top, bottom, seen, planes)


def fitted_coefficients(
    sums: AlbedoSums,
    mean: Float[Tensor, "s s 3"],
    design: Float[Tensor, "n A"],
    settings: AppearanceSettings,
) -> Float[Tensor, "A"]:
    """`albedo_solve.solve_coefficients`. mean: of the model's albedo at `COARSE`. design: its modes there, last."""
    shrink = shrinking(sums.planes.shape[1], COARSE, sums.planes.device)
    small = (shrink @ sums.planes @ shrink.T).movedim(0, -1)
    weight = small[..., 3:]
    target = (small[..., :3] / weight.clamp_min(1e-6) - mean).clamp(-0.5, 0.8).flatten()
    weight = weight.flatten()
    shared = design * (weight / weight.sum().clamp_min(1e-9))[:, None]
    products = tall_product(shared, torch.cat([design, target[:, None]], 1))
    return coefficients_of(products[:, :-1], products[:, -1], settings)


@kept_for_good
def shrinking(size: int, small: int, device: torch.device) -> Float[Tensor, "s S"]:
    """The means that `resized_map` takes along one axis, as a matrix."""
    eye = torch.eye(size, device=device)[None, None]
    return interpolate(eye, size=(small, size), mode="bilinear", antialias=True)[0, 0]
