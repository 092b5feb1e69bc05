"""Dense Jacobians by forward-mode differentiation: one pass per unknown, whatever the number of values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import jvp, vmap  # type: ignore[reportPrivateImportUsage]


@cache
def _load_forward_mode() -> None:
    """Load torch's forward mode once: recent versions warn of their own TorchScript while doing so."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


def forward_jacobian(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "n"], columns_at_once: int = 16
) -> tuple[Float[Tensor, "m"], Float[Tensor, "m n"]]:
    """Value and dense Jacobian of a vector function, in chunks of columns."""
    _load_forward_mode()

    def column(direction: Tensor) -> tuple[Tensor, Tensor]:
        value, tangent, *_ = jvp(function, (x,), (direction,))
        return value, tangent

    directions = torch.eye(x.numel(), dtype=x.dtype, device=x.device)
    if columns_at_once == 1:
        pairs = [column(direction) for direction in directions]
        return pairs[0][0], torch.stack([tangent for _, tangent in pairs], -1)
    value, columns = function(x), []
    for chunk in directions.split(columns_at_once):
        columns.append(vmap(column)(chunk)[1])
    return value, torch.cat(columns).mT
