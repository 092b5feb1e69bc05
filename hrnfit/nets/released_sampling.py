"""How the released code looks up pictures and maps, slips included: its weights were trained on them.

Pictures. A place (column, row) lies between the pixels of the indices floor and floor + 1, each held
inside the picture; the weights of the two rows are exchanged, so row 3.25 reads as 3.75 and row 3
as 4. Index i is the position i: no half-pixel shift.

Deformation map of D texels. Column = u D, row = v D with v down, index i at position i, weights in
their right order: half a texel away from the texel centres at (i + 0.5) / D of the maps that
entered the network.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

EROSION, BLUR = 3, 11
"""Texels: windows by which the face mask shrinks and softens."""


def look_up_picture(
    picture: Float[Tensor, "C h w"], places: Float[Tensor, "*P 2"]
) -> Float[Tensor, "C *P"]:
    """The picture at (column, row), px, with the weights of the rows exchanged; any place is allowed."""
    first, part = _floor(places)
    upper, lower = _rows(picture, first, part[..., 0])
    down = part[..., 1]
    return upper * down + lower * (1.0 - down)


def look_up_deformation(
    deformation: Float[Tensor, "C D D"], uv: Float[Tensor, "N 2"]
) -> Float[Tensor, "N C"]:
    """The map at vertices of the chart (v down), half a texel off its texel centres."""
    first, part = _floor(uv * deformation.shape[-1])
    upper, lower = _rows(deformation, first, part[..., 0])
    down = part[..., 1]
    return (upper * (1.0 - down) + lower * down).mT


def smoothed_mask(mask: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Least of 3 x 3 texels (those inside the map), then the mean of 11 x 11, mirrored at the borders
    without repeating the border texel."""
    smallest = -functional.max_pool2d(-mask[None, None], EROSION, stride=1, padding=EROSION // 2)
    around = functional.pad(smallest, [BLUR // 2] * 4, mode="reflect")
    return functional.avg_pool2d(around, BLUR, stride=1)[0, 0]


def _floor(places: Float[Tensor, "*P 2"]) -> tuple[Int[Tensor, "*P 2"], Float[Tensor, "*P 2"]]:
    """Whole and remaining part."""
    whole = places.floor()
    return whole.long(), places - whole


def _rows(
    picture: Float[Tensor, "C h w"], first: Int[Tensor, "*P 2"], part: Float[Tensor, "*P"]
) -> tuple[Float[Tensor, "C *P"], Float[Tensor, "C *P"]]:
    """The rows floor and floor + 1, each interpolated along its columns."""
    height, width = picture.shape[-2:]
    left, right = (torch.clamp(first[..., 0] + i, 0, width - 1) for i in (0, 1))
    rows = [torch.clamp(first[..., 1] + i, 0, height - 1) for i in (0, 1)]
    upper, lower = (
        picture[:, row, left] * (1.0 - part) + picture[:, row, right] * part for row in rows
    )
    return upper, lower
