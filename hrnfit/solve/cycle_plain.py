"""The operations of a multigrid cycle in plain torch, for any device; `cycle_kernels.py` has them as kernels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.kept import kept_for_good
from hrnfit.solve.chebyshev import Chebyshev
from hrnfit.solve.stencil import Stencil


def residual(stencil: Stencil, right: Tensor, maps: Tensor) -> Float[Tensor, "c k H W"]:
    """right - A maps."""
    return right - stencil(maps)


def smoothed(
    stencil: Stencil,
    inverse: Float[Tensor, "k k H W"],
    right: Float[Tensor, "c k H W"],
    start: Float[Tensor, "c k H W"] | None,
    rule: Chebyshev,
) -> Float[Tensor, "c k H W"]:
    """Two Chebyshev steps towards the solution, from zero where there is no start. inverse: of the node
    blocks."""
    at = right if start is None else residual(stencil, right, start)
    move = rule.first * _per_node(inverse, at)
    there = move if start is None else start + move
    at = residual(stencil, right, there)
    return there + rule.keep * move + rule.second * _per_node(inverse, at)


def _per_node(blocks: Float[Tensor, "k k H W"], maps: Float[Tensor, "c k H W"]) -> Tensor:
    return (blocks * maps[:, None]).sum(2)


def transfer(n: int) -> Float[Tensor, "n m"]:
    """Interpolation from m = ceil(n / 2) nodes to n along one side, float64 on the CPU; the border's own
    value outside."""
    m = (n + 1) // 2
    out = torch.zeros(n, m, dtype=torch.float64)
    for i in range(n):
        near, far = i // 2, i // 2 + (1 if i % 2 else -1)
        out[i, near] += 0.75
        out[i, min(max(far, 0), m - 1)] += 0.25
    return out


@kept_for_good
def _transfer_like(n: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "n m"]:
    return transfer(n).to(device, dtype)


def restricted(fine: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k h w"]:
    """Transpose of the interpolation."""
    rows, columns = (_transfer_like(n, fine.dtype, fine.device) for n in fine.shape[-2:])
    return rows.mT @ fine @ columns


def prolonged(
    coarse: Float[Tensor, "c k h w"], maps: Float[Tensor, "c k H W"]
) -> Float[Tensor, "c k H W"]:
    """maps plus the interpolated coarse ones."""
    rows, columns = (_transfer_like(n, maps.dtype, maps.device) for n in maps.shape[-2:])
    return maps + rows @ coarse @ columns.mT


def solved_densely(inverse: Float[Tensor, "m m"], right: Tensor) -> Float[Tensor, "c k h w"]:
    """The dense inverse times every side."""
    return (right.flatten(1) @ inverse).view_as(right)


def inverted(blocks: Float[Tensor, "k k H W"]) -> Float[Tensor, "k k H W"]:
    """Inverse of symmetric positive definite k x k blocks, by Gauss-Jordan elimination of all nodes at once."""
    out = blocks.clone()
    for p in range(len(blocks)):
        pivot = 1.0 / out[p, p]
        row, column = out[p] * pivot, out[:, p].clone()
        out = out - column[:, None] * row
        out[p], out[:, p] = row, -column * pivot
        out[p, p] = pivot
    return out
