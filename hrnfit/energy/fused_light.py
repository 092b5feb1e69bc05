"""Energies of lights on CUDA, with their gradient by one kernel (`light_prior_kernels`). First derivatives only."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy import light_prior_kernels
from hrnfit.energy.fused_total import Group, Weighted, scaled
from hrnfit.energy.prior import SH_AMBIENT
from hrnfit.energy.robust_kernels import KINDS


def light_group(
    light: Float[Tensor, "G 9 3"],
    colour: tuple[Weighted, float] | None,
    softness: tuple[Weighted, float] | None,
) -> Group:
    """`LightColour` and `LightSoftness`, one of them at least, each with its scale."""
    read, wanted = light.contiguous(), (colour, softness)
    asked = [x[0] for x in wanted if x is not None]
    kinds = [-1 if x is None else KINDS[x[0].kernel] for x in wanted]
    numbers: list[float] = []
    for x, residuals in zip(wanted, (27, 15), strict=True):
        share = 1.0 / max(residuals * len(read), 1e-12)
        numbers += [1.0, share, 0.0] if x is None else [x[1], share, share * x[0].factor]

    def launch(grad: Tensor, sums: Tensor) -> None:
        light_prior_kernels.light_energies[(len(read),)](
            read, grad, sums[0, 0], sums[-1, 0], SH_AMBIENT, *numbers,
            COLOUR=kinds[0], SOFTNESS=kinds[1], num_warps=1,
        )  # fmt: skip

    return Group(
        terms=tuple(asked),
        read=read,
        parts=len(read),
        weighed=(False,) * len(asked),
        gradients=lambda: torch.empty_like(read),
        launch=launch,
        spread=scaled,
    )
