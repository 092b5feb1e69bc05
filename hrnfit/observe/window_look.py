"""What one window shows of a photograph, in plain torch: the law that `window_kernels.py` follows on a device, and
what cuts windows where there are no kernels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.geometry import brown
from hrnfit.observe.window_place import Cut

Look = tuple[Float[Tensor, "S S 3"], Float[Tensor, "S S"], Bool[Tensor, "S S"]]
"""Image, mask, and where the photograph is."""


def window_look(
    cut: Cut,
    placed: Float[Tensor, "14"],
    K: Float[Tensor, "3 3"],
    lens: Float[Tensor, "D"],
    level: Float[Tensor, "4 h w"],
) -> Look:
    """What one window shows of a photograph. placed: of `Placement.packed`. level: framed, of the cut's blocks."""
    x, y, valid = _photograph_pixels(cut, placed, K, lens)
    height, width = cut.photograph
    within = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    within = within if valid is None else within & valid
    inside = _mean(within[None].float(), cut.samples)[0] > 1 - 1e-4
    height, width = level.shape[1:]  # with one pixel of frame; a grid counts from -1 to 1
    x = (x / cut.block + 1) * (2 / width) - 1
    y = (y / cut.block + 1) * (2 / height) - 1
    grid = torch.stack(torch.broadcast_tensors(x, y), -1)
    if cut.enlarging:
        image = _sampled(level[:3], grid, "bicubic").clamp_min(0)
        mask = _sampled(level[3:], grid, "bilinear")
    else:
        image, mask = _sampled(level, grid, "bilinear").split([3, 1])
    if valid is not None:
        mask = mask * valid
    return _mean(image, cut.samples).permute(1, 2, 0), _mean(mask, cut.samples)[0], inside


def _photograph_pixels(
    cut: Cut, placed: Tensor, K: Tensor, lens: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Photograph pixels x, y of the look-ups, (1, n) and (n, 1) without a lens, else (n, n), and where the lens
    model is valid; None for everywhere."""
    count = cut.size * cut.samples
    grid = torch.arange(count, device=placed.device, dtype=torch.float64)
    grid = (grid + 0.5) * (cut.size / count)
    x, y = (placed[3 + k] + (1 / placed[0]) * grid for k in range(2))
    x, y = x[None], y[:, None]
    if not len(lens):
        return x.float(), y.float(), None
    # placed in float64, looked up in float32: 1e-4 px at 2000 px focal length
    yn = (y - K[1, 2]) / K[1, 1]
    xn = ((x - K[0, 2]) / K[0, 0]).float() - (K[0, 1] / K[0, 0] * yn).float()
    yn, K = yn.float(), K.float()
    xd, yd = brown.distort_parts(xn, yn, lens)
    valid = brown.is_valid(torch.stack(torch.broadcast_tensors(xn, yn), -1), lens)
    return K[0, 0] * xd + (K[0, 1] * yd + K[0, 2]), K[1, 1] * yd + K[1, 2], valid


def _sampled(level: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(level[None], grid[None], mode, padding_mode="border", align_corners=False)[
        0
    ]


def _mean(values: Tensor, samples: int) -> Tensor:
    return values if samples == 1 else F.avg_pool2d(values[None], samples)[0]
