"""Energies of UV maps on CUDA, each with its gradient by one kernel (`map_kernels`). First derivatives only.

Memory: the gradient, as large as the map, from the forward to the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.energy import map_kernels
from hrnfit.energy.fused_mean import FusedMean
from hrnfit.energy.robust_kernels import KINDS
from hrnfit.energy.smooth import difference_validity
from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.launched import blocks, width_of


class _Constants:
    """Of a mask of used texels: as floats, and the validity per channel and map of every kernel."""

    def __init__(self, used: Tensor) -> None:
        self.used = used.to(torch.float32).contiguous()
        u, v = difference_validity(used)
        second = (used[:, :-2] & used[:, 1:-1] & used[:, 2:]).sum()
        second = second + (used[:-2] & used[1:-1] & used[2:]).sum()
        mixed = used[:-1, :-1] & used[:-1, 1:] & used[1:, :-1] & used[1:, 1:]
        counts = torch.stack([used.sum(), u.sum() + v.sum(), second + mixed.sum()]).tolist()
        self.share: dict[str, float] = {"isotropic": counts[0]}
        self.share |= dict(zip(("size", "variation", "bending"), counts, strict=True))


def _energy(name: str) -> Callable[[Tensor, Tensor, float, str], Tensor]:
    """A kernel of `map_kernels`."""

    def energy(
        maps: Float[Tensor, "*B H W C"], used: Bool[Tensor, "H W"], scale: float, kernel: str
    ) -> Float[Tensor, ""]:
        stacked = maps.reshape(-1, *maps.shape[-3:]).contiguous()
        count, height, width, channels = stacked.shape
        constants = kept_with(used, "map energies", lambda: _Constants(used))
        block = width_of(128)
        validity = constants.share[name] * count * (1 if name == "isotropic" else channels)
        grid = (*blocks(height * width, block), count)

        def launch(read: Tensor, grad: Tensor, sums: Tensor) -> None:
            getattr(map_kernels, name)[grid](
                read, constants.used, grad, sums, height, width, scale, 1.0 / max(validity, 1e-12),
                C=channels, KIND=KINDS[kernel], BLOCK=block,
            )  # fmt: skip

        return FusedMean.apply(stacked, (grid[0] * grid[1],), False, launch)

    return energy


size_energy, variation_energy = _energy("size"), _energy("variation")
bending_energy, isotropic_energy = _energy("bending"), _energy("isotropic")
"""`reduce` of the values over `scale`, of `total_variation`, `bending` and `isotropic_variation`."""
