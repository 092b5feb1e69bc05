"""Where windows lie on photographs, in numbers alone, and how they are sampled.

A window of S px has 1 / `scale` photograph pixels per pixel. Four of them and more are averaged over blocks
first, so that never more than 4 x 4 look-ups fall into a window pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Placement:
    """V square windows on undistorted photographs. float64, on the host."""

    size: int
    """px."""
    scale: Float[Tensor, "V"]
    """Window pixels per photograph pixel."""
    shift: Float[Tensor, "V 2"]
    """Window px of the photograph's corner."""
    corner: Float[Tensor, "V 2"]
    """Photograph px of the window's corner."""
    K: Float[Tensor, "V 3 3"]
    """Pinholes of the windows."""

    @staticmethod
    def of(K: Float[Tensor, "V 3 3"], boxes: Float[Tensor, "V 4"], size: int) -> Placement:
        """Windows around boxes of undistorted pixels, the shorter side widened about its centre."""
        low, high = boxes[:, :2], boxes[:, 2:]
        side = (high - low).amax(1)
        if not bool((side > 0).all()):
            box = boxes[int((~(side > 0)).nonzero()[0])]
            raise ValueError(f"boxes: expected left < right and top < bottom, got {box.tolist()}")
        corner = (low + high - side[:, None]) / 2
        scale = size / side
        shift = -scale[:, None] * corner
        window = K.clone()
        window[:, :2, 2] -= corner
        window[:, :2] *= scale[:, None, None]
        return Placement(size, scale, shift, corner, window)

    def packed(self) -> Float[Tensor, "V 14"]:
        """Scale, shift, corner and pinhole of each window, to be sent at once."""
        return torch.cat([self.scale[:, None], self.shift, self.corner, self.K.flatten(1)], 1)


@dataclass(frozen=True)
class Cut:
    """How a window is sampled: what is alike of many windows."""

    size: int
    """px."""
    photograph: tuple[int, int]
    """Height and width, px."""
    block: int
    """Side of the blocks that are averaged first, photograph px."""
    samples: int
    """Look-ups per window pixel and axis."""
    enlarging: bool


def cut_of(place: Placement, row: int, photograph: tuple[int, int]) -> Cut:
    """Of one window."""
    ratio = 1 / float(place.scale[row])  # photograph pixels per window pixel
    block = max(1, int(ratio // 2))
    samples = max(1, math.ceil(ratio / block - 1e-6))
    return Cut(place.size, photograph, block, samples, ratio < 1)
