"""Windows of all views by one launch (`window_kernels.py`). Imported only where a CUDA device is used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.geometry import brown
from hrnfit.geometry.launched import blocks, width_of
from hrnfit.observe import window_kernels as kernels
from hrnfit.observe.window_place import Cut, Placement

BLOCK = 128
EXACT = {"num_warps": 4, "enable_fp_fusion": False}
"""Options with which the kernel rounds as torch does."""

Looks = tuple[Float[Tensor, "V S S 3"], Float[Tensor, "V S S"], Bool[Tensor, "V S S"]]
"""Images, masks, and where the photographs are."""


def packed_cameras(
    K: Float[Tensor, "V 3 3"], sizes: Sequence[tuple[int, int]], lenses: Sequence[Tensor]
) -> Float[Tensor, "V 20"]:
    """What the kernel asks of the photographs' cameras, float64, on the host.

    sizes: height and width, px. lenses: coefficients of each.
    """
    rows = []
    for pinhole, size, lens in zip(K.tolist(), sizes, lenses, strict=True):
        (fx, skew, cx), (_, fy, cy), _ = pinhole
        row = [fx, skew, cx, fy, cy, *size, brown.kept_fold_radius(lens), *lens.tolist()]
        rows.append(row + [0.0] * (20 - len(row)))
    return torch.tensor(rows, dtype=torch.float64)


def packed_placement(
    place: Placement, cuts: Sequence[Cut], levels: Sequence[Float[Tensor, "4 _ _"]]
) -> Float[Tensor, "V 21"]:
    """`Placement.packed`, the cuts and where the levels are in memory, float64, on the host: an address has less
    than 53 bits. Sizes are sent, too, since Triton compiles anew (1 s) for numbers that 16 divides."""
    if not all(level.is_contiguous() for level in levels):
        raise ValueError(
            "levels: the kernel reads them as they lie in memory: expected contiguous ones"
        )
    rows = [
        (level.data_ptr(), *level.shape[1:], cut.block, cut.samples, cut.enlarging, cut.size)
        for cut, level in zip(cuts, levels, strict=True)
    ]
    return torch.cat([place.packed(), torch.tensor(rows, dtype=torch.float64)], 1)


def cut_windows(
    placed: Float[Tensor, "V 21"], cameras: Float[Tensor, "V 20"], size: int, coefficients: int
) -> Looks:
    """Windows of `size` px, on the device of the rows above; the levels that these point to must be alive.

    coefficients: of the longest lens, 0 where no view has one.
    """
    shape = (len(placed), size, size)
    images = placed.new_empty(*shape, 3, dtype=torch.float32)
    masks, inside = images.new_empty(shape), images.new_empty(shape, dtype=torch.int8)
    block, lens = width_of(BLOCK), 5 if coefficients == 4 else coefficients
    kernels.windows[(*blocks(size * size, block), len(placed))](
        images, masks, inside, placed, cameras,
        PLACED=placed.shape[1], CAMERA=cameras.shape[1], LENS=lens, BLOCK=block, **EXACT,
    )  # fmt: skip
    return images, masks, inside.view(torch.bool)
