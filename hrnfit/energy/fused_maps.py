"""Energies of UV maps on CUDA, those of one map with their gradient by one kernel (`map_kernels`).

First derivatives only. Memory: the gradient, as large as the map, from the forward to the backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.energy import map_kernels
from hrnfit.energy.fused_total import Group, Weighted, scaled
from hrnfit.energy.robust_kernels import KINDS
from hrnfit.energy.smooth import difference_validity
from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.launched import blocks, width_of

MAP_ENERGIES = ("size", "variation", "bending", "isotropic")
"""`reduce` of the values over the scale, of `total_variation`, `bending` and `isotropic_variation`."""


class _Constants:
    """Of a mask of used texels: as floats, and the validity per channel and map of every energy."""

    def __init__(self, used: Tensor) -> None:
        self.used = used.to(torch.float32).contiguous()
        u, v = difference_validity(used)
        second = (used[:, :-2] & used[:, 1:-1] & used[:, 2:]).sum()
        second = second + (used[:-2] & used[1:-1] & used[2:]).sum()
        mixed = used[:-1, :-1] & used[:-1, 1:] & used[1:, :-1] & used[1:, 1:]
        counts = torch.stack([used.sum(), u.sum() + v.sum(), second + mixed.sum()]).tolist()
        self.share: dict[str, float] = {"isotropic": counts[0]}
        self.share |= dict(zip(("size", "variation", "bending"), counts, strict=True))


def map_group(
    maps: Float[Tensor, "*B H W C"],
    used: Bool[Tensor, "H W"],
    wanted: Mapping[str, tuple[Weighted, float]],
) -> Group:
    """Those of `MAP_ENERGIES` that are wanted, each with its scale."""
    read = maps.reshape(-1, *maps.shape[-3:]).contiguous()
    count, height, width, channels = read.shape
    constants = kept_with(used, "map energies", lambda: _Constants(used))
    block = width_of(128)
    grid = (*blocks(height * width, block), count)
    numbers: list[float] = []
    for name in MAP_ENERGIES:
        term, scale = wanted.get(name, (Weighted(name, "square", 0.0), 1.0))
        validity = constants.share[name] * count * (1 if name == "isotropic" else channels)
        share = 1.0 / max(validity, 1e-12)
        numbers += [scale, share, share * term.factor]
    kinds = {
        name.upper(): KINDS[wanted[name][0].kernel] if name in wanted else -1
        for name in MAP_ENERGIES
    }
    row = {name: k for k, name in enumerate(x for x in MAP_ENERGIES if x in wanted)}

    def launch(grad: Tensor, sums: Tensor) -> None:
        parts = [sums[row.get(name, 0), 0] for name in MAP_ENERGIES]  # not touched where not wanted
        map_kernels.map_energies[grid](
            read, constants.used, grad, *parts, height, width, *numbers, **kinds,
            C=channels, BLOCK=block,
        )  # fmt: skip

    return Group(
        terms=tuple(wanted[name][0] for name in row),
        read=read,
        parts=grid[0] * grid[1],
        weighed=(False,) * len(row),
        gradients=lambda: torch.empty_like(read),
        launch=launch,
        spread=scaled,
    )
