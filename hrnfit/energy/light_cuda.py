"""`light_field` by Triton kernels: about twenty launches instead of four hundred.

Fixed launches, nothing read by the host. Imported only where a CUDA device is used. Memory: 8 floats per texel and
view at the chart's resolution.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy import light_kernels
from hrnfit.energy.filters import gaussian_weights
from hrnfit.energy.shared_albedo import TexelViews
from hrnfit.energy.surface_cuda import planar
from hrnfit.energy.texels import Texels
from hrnfit.geometry.kept import kept_for_good
from hrnfit.geometry.launched import blocks, width_of

MOST_VIEWS = 14
"""Whose 9 harmonics each fit into one program's system of 128 unknowns."""
PROGRAMS = 128
"""That share the texels of a sum."""


def has_light(texels: TexelViews) -> bool:
    """Whether `light_field_cuda` takes these."""
    return texels.weight.dtype == torch.float32 and len(texels.weight) <= MOST_VIEWS


def light_field_cuda(
    texels: TexelViews,
    normals: Float[Tensor, "F P 3"],
    frame: Int[Tensor, "V"],
    motion: Float[Tensor, "V 3 4"],
    raster: Texels,
    sigma: float,
    scale: float,
    ridge: float,
    most: int,
    rounds: tuple[int, int] = (4, 2),
) -> Float[Tensor, "V P 3"]:
    """`light_field` for at most `MOST_VIEWS` views.

    normals: unit, in the head frame, of F frames. frame: which of these each view shows. motion: camera from head. ridge:
    of the harmonics. most: texels that they are solved from. rounds: of the harmonics, and of the remainder.
    """
    colour, plain = planar(texels.colour), texels.weight.contiguous()
    place = (normals.contiguous(), frame.contiguous(), motion.contiguous())
    light = _harmonics(colour, plain, place, scale, ridge, most, rounds[0])
    views, P = plain.shape
    step = max(1, int(sigma * raster.size / 2))
    size = -(-raster.size // step)
    image = colour.new_empty(views, 4, size, size)
    kinds = ("first", *("next" for _ in range(rounds[1] - 1)), "last")
    # threads keep all views of their texels: with views spread over warps, sums over them took 1.4 times as long
    block, warps, out = width_of(64), max(1, _padded(views) // 8), colour
    for kind in kinds:
        out = colour.new_empty(views, 3 if kind == "last" else 4, P)
        light_kernels.disagreement[blocks(P, block)](
            colour, plain, *place, light, image, raster.flat, out, views, P, raster.size, scale, size,
            step, VP=_padded(views), BLOCK=block, KIND=kind, num_warps=warps,
        )  # fmt: skip
        if kind != "last":
            image = _smoothed(out, raster, sigma, size, step)
    return out.movedim(-1, 1)


def _harmonics(
    colour: Float[Tensor, "V 3 P"],
    plain: Float[Tensor, "V P"],
    place: tuple[Tensor, Tensor, Tensor],
    scale: float,
    ridge: float,
    most: int,
    rounds: int,
) -> Float[Tensor, "V 9 3"]:
    """The light that makes the views agree best, as `harmonic_field` finds it."""
    views, P = plain.shape
    stride = max(1, P // most)
    count = -(-P // stride)
    block, wide = 32, max(16, _padded(9 * views))
    each = max(1, -(-count // (block * PROGRAMS)))
    programs = -(-count // (block * each))
    weight, light = plain.new_empty(views, count), plain.new_empty(views, 9, 3)
    kinds = max(16, _padded(3 * views))
    size = (2 * wide + kinds) * wide
    parts, sums = plain.new_empty(programs, size), plain.new_empty(size, dtype=torch.float64)
    room = sums.new_empty(wide + 2, wide)
    folding = width_of(64)
    for i in range(rounds):
        # the first looks are far off: a wide scale that shrinks to the one of the comparison
        last = scale * 2.0 ** (rounds - i)
        light_kernels.harmonic_sums[(programs,)](
            colour, plain, *place, light, weight, parts, views, P, count, stride, 1.0 / last**2, each,
            VP=_padded(views), QP=wide, CP=kinds, BLOCK=block, FIRST=i == 0, num_warps=4 if wide <= 64 else 16,
        )  # fmt: skip
        light_kernels.folded[blocks(size, folding)](
            parts, sums, programs, size, GP=_padded(programs), BLOCK=folding
        )
        light_kernels.harmonic_light[(1,)](
            sums, room, light, views, ridge, QP=wide, num_warps=8 if wide <= 64 else 16
        )
    return light


def _smoothed(
    planes: Float[Tensor, "V 4 P"], raster: Texels, sigma: float, size: int, step: int
) -> Float[Tensor, "V 4 s s"]:
    """Means over step x step texels, blurred as `separable_blur` does."""
    views, _, P = planes.shape
    image = planes.new_empty(views, 4, size, size)
    block = width_of(128)
    grid = (*blocks(size * size, block), views)
    light_kernels.pooled[grid](
        planes, raster.places, image, P, raster.size, size, step, BLOCK=block
    )
    width = sigma * raster.size / step
    reach = round(3 * width)
    taps = _taps(width, reach, planes.device)
    grid = (*blocks(size * size, block), 4 * views)
    for along in (size, 1):
        out = torch.empty_like(image)
        light_kernels.blurred[grid](image, taps, out, size, along, REACH=reach, BLOCK=block)
        image = out
    return image


@kept_for_good
def _taps(width: float, reach: int, device: torch.device) -> Float[Tensor, "t"]:
    """A Gaussian's, float32, rounded once."""
    weights = gaussian_weights(width, reach, torch.float64, torch.device("cpu"))
    return weights.to(device, torch.float32)


def _padded(count: int) -> int:
    return 1 << (count - 1).bit_length()
