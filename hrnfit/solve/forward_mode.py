"""Blocks whose Jacobian comes from forward-mode differentiation: dense residuals, few unknowns.

One `ForwardBlock` per view (or per chunk of a view's pixels) reads only that view's unknowns, and
`normal_equations` adds its A^T A to the shared system: memory is one block's A, never all of it.
Forward mode needs one pass per unknown, whatever the number of residuals: on one core 10,000
residuals x 100 unknowns take 0.06 s, where row-wise reverse mode takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.derivative import forward_jacobian
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
