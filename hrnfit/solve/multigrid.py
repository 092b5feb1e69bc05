"""A symmetric multigrid cycle for map stencils: the preconditioner of conjugate gradients on the device.

Levels halve the nodes, whose values are interpolated bilinearly between centres (3/4, 1/4); coarse operators are
Galerkin products. Two steps of Chebyshev iteration over the node blocks smooth before and after (Adams, Brezina,
Hu & Tuminaro 2003), and the coarsest level is solved exactly. On the normal equations of the `rig` recipe, from the
stiffest to the softest, conjugate gradients need 8 to 10 cycles for a relative residual of 1e-6, at 64 x 64 x 3 and
256 x 256 x 1 alike; interpolation at every second node (1/2) took 15 to 17, cubic B-splines 11 to 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.kept import kept_for_good
from hrnfit.solve.chebyshev import Chebyshev
from hrnfit.solve.cycle_plain import (
    inverted,
    prolonged,
    residual,
    restricted,
    smoothed,
    solved_densely,
    transfer,
)
from hrnfit.solve.stencil import Stencil, offsets

COARSEST = 64
"""Unknowns that are solved by a dense inverse."""
LARGEST = (4.0, 4.4)
"""Upper ends of the eigenvalues that are smoothed, on the finest level and below. Each residual of a map touches at most
four nodes, which bounds the first; the second was at most 3.9 where it was measured."""
RULES = tuple(Chebyshev.on(largest / 11.0, largest) for largest in LARGEST)


@dataclass(frozen=True)
class Ladder:
    """What does not change with the data: the regulariser on every level, and how levels hang together."""

    forms: tuple[Float[Tensor, "25 _ _"], ...]
    """Finest first, float64."""
    products: tuple[Float[Tensor, "_ 5 4 5"], ...]
    """Galerkin weights along one side; see `_products`."""
    dense: Int[Tensor, "_"]
    """Where the entries of the coarsest stencil (25, k, k, n, n) stand in its dense matrix; one past
    its end for those beyond the border."""
    single: Float[Tensor, "25 D D"]
    """The finest form in float32."""

    @staticmethod
    def of(form: Float[Tensor, "25 D D"], channels: int) -> Ladder:
        """For maps of `channels` values per node with this regulariser, on its device."""
        forms, products = [form.double()], []
        while (n := forms[-1].shape[-1]) > 1 and n * n * channels > COARSEST:
            products.append(_products(transfer(n)).to(form.device))
            forms.append(_coarsened(forms[-1][:, None, None], products[-1])[:, 0, 0])
        dense = _dense_places(forms[-1].shape[-1], channels).to(form.device)
        return Ladder(tuple(forms), tuple(products), dense, forms[0].float())


@dataclass(frozen=True)
class Level:
    """One level of a hierarchy, float32."""

    stencil: Stencil
    inverse: Float[Tensor, "k k H W"]
    """Of the node blocks."""
    rule: Chebyshev
    """Of the smoother."""


@dataclass(frozen=True)
class Multigrid:
    """One symmetric V-cycle, float32, in plain torch; `CudaMultigrid` is the same by kernels."""

    levels: tuple[Level, ...]
    coarsest: Float[Tensor, "n n"]
    """Dense inverse, unknowns in the order (channel, row, column)."""

    @staticmethod
    def of(stencil: Stencil, ladder: Ladder) -> Multigrid:
        """The hierarchy under a float64 stencil whose form is the ladder's first."""
        levels, blocks = [], stencil.blocks
        for i, weights in enumerate(ladder.products):
            here = Stencil(blocks, ladder.forms[i]).to(torch.float32)
            inverse = inverted(here.node_blocks())
            levels.append(Level(here, inverse, RULES[min(i, 1)]))
            blocks = _coarsened(blocks, weights)
        matrix = _dense(Stencil(blocks, ladder.forms[-1]), ladder.dense)
        eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        half = torch.linalg.solve_triangular(torch.linalg.cholesky_ex(matrix).L, eye, upper=False)
        return Multigrid(tuple(levels), (half.mT @ half).float())

    def __call__(self, residual: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k H W"]:
        """An approximate solution; symmetric and positive definite in the residual."""
        return self._cycle(residual, 0)

    def _cycle(self, right: Tensor, i: int) -> Tensor:
        if i == len(self.levels):
            return solved_densely(self.coarsest, right)
        level = self.levels[i]
        stencil, inverse = level.stencil, level.inverse
        first = smoothed(stencil, inverse, right, None, level.rule)
        below = self._cycle(restricted(residual(stencil, right, first)), i + 1)
        return smoothed(stencil, inverse, right, prolonged(below, first), level.rule)


def _products(transfer: Float[Tensor, "n m"]) -> Float[Tensor, "m 5 4 5"]:
    """P[i, I] P[j, J] for coarse I, J = I + e, fine i = 2 I - 1 + a and j = i + d; indices (I, e, a, d).

    Fine nodes of a coarse one are 2 I - 1 .. 2 I + 2, so offsets d in -2..2 stay in e in -2..2.
    """
    n, m = transfer.shape
    axes = (torch.arange(m), torch.arange(-2, 3), torch.arange(4), torch.arange(-2, 3))
    coarse, e, a, d = torch.meshgrid(*axes, indexing="ij")
    i, other = 2 * coarse - 1 + a, coarse + e
    j = i + d
    exist = (other >= 0) & (other < m) & (i >= 0) & (i < n) & (j >= 0) & (j < n)
    here = transfer[i.clamp(0, n - 1), coarse]
    there = transfer[j.clamp(0, n - 1), other.clamp(0, m - 1)]
    return torch.where(exist, here * there, torch.zeros_like(here)).double()


def _coarsened(
    blocks: Float[Tensor, "O k k n n"], products: Float[Tensor, "m 5 4 5"]
) -> Float[Tensor, "25 k k m m"]:
    """The Galerkin product of a stencil with interpolation on both sides, one axis after the other."""
    reach = 1 if len(blocks) == 9 else 2
    k, n = blocks.shape[1], blocks.shape[-1]
    weights = products[..., 2 - reach : 3 + reach].to(blocks)
    m, side = len(products), 2 * reach + 1
    fine = _children(m, n, blocks.device)
    parts = blocks.view(side, side, k * k, n, n)[:, :, :, fine]  # (d, x, k k, (m, 4), n)
    parts = parts.view(side, side, k * k, m, 4, n)
    rows = torch.einsum("mead,dxkman->exkmn", weights, parts)
    parts = rows[..., fine].view(5, side, k * k, m, m, 4)
    return torch.einsum("nfax,exkmna->efkmn", weights, parts).reshape(25, k, k, m, m)


@kept_for_good
def _children(m: int, n: int, device: torch.device) -> Int[Tensor, "K"]:
    """Fine nodes 2 I - 1 .. 2 I + 2 of each coarse node, clamped: those outside have no weight."""
    at = 2 * torch.arange(m)[:, None] + torch.arange(-1, 3)
    return at.clamp(0, n - 1).flatten().to(device)


def _dense_places(n: int, k: int) -> Int[Tensor, "K"]:
    """`Ladder.dense`, for blocks raveled in their own order (25, k, k, n, n)."""
    y, x = torch.arange(n)[:, None], torch.arange(n)[None]
    a, b = (torch.arange(k).view(shape) for shape in ((k, 1, 1, 1), (1, k, 1, 1)))
    places = []
    for dy, dx in offsets(25):
        inside = (y + dy >= 0) & (y + dy < n) & (x + dx >= 0) & (x + dx < n)
        row, column = (a * n + y) * n + x, (b * n + y + dy) * n + x + dx
        places.append(torch.where(inside, row * (n * n * k) + column, (n * n * k) ** 2))
    return torch.stack(places).flatten()


def _dense(stencil: Stencil, places: Int[Tensor, "K"]) -> Float[Tensor, "m m"]:
    """The matrix of a small stencil."""
    _, k, _, n, _ = stencil.blocks.shape
    blocks = stencil.blocks
    if len(blocks) == 9:
        wide = blocks.new_zeros(5, 5, *blocks.shape[1:])
        wide[1:4, 1:4] = blocks.view(3, 3, *blocks.shape[1:])
        blocks = wide.flatten(0, 1)
    eye = torch.eye(k, dtype=blocks.dtype, device=blocks.device)[None, :, :, None, None]
    values = (blocks + eye * stencil.form[:, None, None]).flatten()
    size = n * n * k
    return blocks.new_zeros(size * size + 1).index_copy_(0, places, values)[:-1].view(size, size)
