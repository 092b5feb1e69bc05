"""A light of nine harmonics seen from a turned frame: exact, since each band is closed under rotation.

As a function of the unit normal the light is a polynomial, c + g . n + n' A n with A symmetric and without
trace. Turning the frame by Q gives c, Q g and Q A Q'.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.render.shade import DIFFERENCE, LINEAR, PRODUCT, ZONAL


def turned_light(
    light: Float[Tensor, "9 3"], R_dst_src: Float[Tensor, "3 3"]
) -> Float[Tensor, "9 3"]:
    """Light of frame src as light of frame dst: shade(R n, turned) = shade(n, light)."""
    R = R_dst_src.to(light)
    gradient = R @ (LINEAR * light[[3, 1, 2]])  # rows of band 1 are y, z, x
    quadric = R @ _quadric(light[4:]) @ R.mT
    band_1 = gradient[[1, 2, 0]] / LINEAR
    return torch.cat([light[:1], band_1, _band_2(quadric)])


def _quadric(band: Float[Tensor, "5 C"]) -> Float[Tensor, "C 3 3"]:
    """n' A n of the second band (xy, yz, 3 z^2 - 1, xz, x^2 - y^2) per colour, by x^2 + y^2 + z^2 = 1."""
    xy, yz, xz = (0.5 * PRODUCT * band[k] for k in (0, 1, 3))
    zonal, difference = ZONAL * band[2], DIFFERENCE * band[4]
    rows = (difference - zonal, xy, xz, xy, -difference - zonal, yz, xz, yz, 2.0 * zonal)
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


def _band_2(A: Float[Tensor, "C 3 3"]) -> Float[Tensor, "5 C"]:
    """Inverse of `_quadric`."""
    rows = (
        2.0 * A[:, 0, 1] / PRODUCT,
        2.0 * A[:, 1, 2] / PRODUCT,
        A[:, 2, 2] / (2.0 * ZONAL),
        2.0 * A[:, 0, 2] / PRODUCT,
        (A[:, 0, 0] - A[:, 1, 1]) / (2.0 * DIFFERENCE),
    )
    return torch.stack(rows)
