"""Blocks whose Jacobian comes from forward-mode differentiation: dense residuals, few unknowns.

One `ForwardBlock` per view (or per chunk of a view's pixels) reads only that view's unknowns, and
`normal_equations` adds its A^T A to the shared system: memory is one block's A, never all of it.
Forward mode needs one pass per unknown, whatever the number of residuals: on one core 10,000
residuals x 100 unknowns take 0.06 s, where row-wise reverse mode takes seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import jvp, vmap  # type: ignore[reportPrivateImportUsage]

from hrnfit.solve.block import Slot

Robust = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From squared residuals to the factors (g, a) of residual and Jacobian, as `robust_scale`."""


@dataclass(frozen=True)
class ForwardBlock:
    """Residuals r (m,) of a few slots, differentiated column by column."""

    slots: tuple[Slot, ...]
    function: Callable[..., Float[Tensor, "m"]]
    """Weighted, dimensionless residuals of the slots' flat values."""
    robust: Robust | None = None
    """Kernel applied to each residual; none is least squares."""
    columns_at_once: int = 16
    """Columns per vectorised pass; 1 goes without `vmap`, for functions it cannot trace."""

    def residual(self, *values: Tensor) -> Tensor:
        r = self.function(*values)
        return r if self.robust is None else self.robust(r.square())[0] * r

    def linearize(self, *values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        sizes = [value.numel() for value in values]
        packed = torch.cat([value.reshape(-1) for value in values])
        r, J = forward_jacobian(
            lambda x: self.function(*x.split(sizes)), packed, self.columns_at_once
        )
        if self.robust is not None:
            g, a = self.robust(r.square())
            r, J = g * r, a[:, None] * J
        return r, J.split(sizes, -1)


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
