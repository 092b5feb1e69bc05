"""Small symmetric positive definite systems, a batch of them at once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def solve_definite(
    system: Float[Tensor, "*B n n"], right: Float[Tensor, "*B n k"]
) -> Float[Tensor, "*B n k"]:
    """Solutions of system @ x = right; every product of the batch has its own.

    On the CPU as `torch.linalg.solve`, which raises where a system is singular. Elsewhere by Cholesky's
    factors in float64, without a word to the host, so that it can be recorded: NaN where a system is
    not positive definite.
    """
    if system.device.type == "cpu":
        return torch.linalg.solve(system, right)
    return solve_by_factors(system, right)


def solve_by_factors(
    system: Float[Tensor, "*B n n"], right: Float[Tensor, "*B n k"]
) -> Float[Tensor, "*B n k"]:
    """`solve_definite` for any device, by Cholesky's factors; NaN where there are none."""
    factor = factor_or_nan(system.double())
    half = torch.linalg.solve_triangular(factor, right.double(), upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True).to(right)


def factor_or_nan(system: Float[Tensor, "*B n n"]) -> Float[Tensor, "*B n n"]:
    """Cholesky's lower factor without a word to the host; NaN of a system that is not positive definite, since
    half a factor would go on as numbers that mean nothing."""
    factor, failed = torch.linalg.cholesky_ex(system)
    return factor.masked_fill((failed > 0)[..., None, None], torch.nan)
