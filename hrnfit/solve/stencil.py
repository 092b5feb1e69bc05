"""Normal equations of a map as a block stencil of tensors: assembly, product, diagonal.

A map of H x W nodes with k channels couples every node with its neighbours by k x k blocks: data read
bilinearly reach one node, second differences two. Blocks of data and the scalar form of a regulariser,
the same in every channel, are kept apart: 9 k^2 + 25 values per node where one block stencil of
both had 25 k^2. Everything stays on the device, in shapes known beforehand, so that it can be recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.device_kernels import has_kernels

Matrix = Any
"""A scipy sparse matrix."""


@dataclass(frozen=True)
class Stencil:
    """A symmetric operator on maps (k, H, W)."""

    blocks: Float[Tensor, "O k k H W"]
    """Entry [o, a, b, i, j] couples channel a of node (i, j) with channel b of its neighbour by the
    o-th offset (dy, dx) in -1..1 (O = 9) or -2..2 (O = 25), rows first; zero beyond the border."""
    form: Float[Tensor, "25 H W"]
    """Couples a channel with the same channel of the neighbours, offsets in -2..2."""

    def __call__(self, maps: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k H W"]:
        """The operator on c maps."""
        if maps.device.type == "cuda":
            from hrnfit.solve.cycle_cuda import product  # local: triton

            return product(self, maps)
        return plain_product(self, maps)

    def diagonal(self) -> Float[Tensor, "k H W"]:
        """Of the matrix."""
        own = self.blocks[len(self.blocks) // 2].diagonal(dim1=0, dim2=1).movedim(-1, 0)
        return own + self.form[12]

    def node_blocks(self) -> Float[Tensor, "k k H W"]:
        """What couples the channels of a node."""
        k = self.blocks.shape[1]
        eye = torch.eye(k, dtype=self.form.dtype, device=self.form.device)
        return self.blocks[len(self.blocks) // 2] + eye[:, :, None, None] * self.form[12]

    def damped(self, weight: Float[Tensor, "k H W"]) -> Stencil:
        """With `weight` added to the diagonal."""
        blocks = self.blocks.clone()
        blocks[len(blocks) // 2].diagonal(dim1=0, dim2=1).add_(weight.movedim(0, -1))
        return Stencil(blocks, self.form)

    def to(self, dtype: torch.dtype) -> Stencil:
        """In another precision, contiguous."""
        return Stencil(self.blocks.to(dtype).contiguous(), self.form.to(dtype).contiguous())


def plain_product(stencil: Stencil, maps: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k H W"]:
    """The operator in plain torch, for any device."""
    H, W = maps.shape[-2:]
    padded = torch.nn.functional.pad(maps, (2, 2, 2, 2))
    out = torch.zeros_like(maps)
    for o, (dy, dx) in enumerate(offsets(len(stencil.form))):
        out += stencil.form[o] * padded[..., 2 + dy : 2 + dy + H, 2 + dx : 2 + dx + W]
    for o, (dy, dx) in enumerate(offsets(len(stencil.blocks))):
        there = padded[..., 2 + dy : 2 + dy + H, 2 + dx : 2 + dx + W]
        out += (stencil.blocks[o] * there[:, None]).sum(2)
    return out


def offsets(count: int) -> list[tuple[int, int]]:
    """(dy, dx) of a stencil's entries: 9 reach one node, 25 two."""
    reach = {9: 1, 25: 2}[count]
    around = range(-reach, reach + 1)
    return [(dy, dx) for dy in around for dx in around]


def form_from_matrix(matrix: Matrix, nodes: int) -> Float[Tensor, "25 D D"]:
    """The stencil of a sparse quadratic form (D D, D D) of one channel, float64 on the CPU.

    Raises ValueError when it couples nodes more than two apart.
    """
    entries = matrix.tocoo()
    entries.sum_duplicates()
    rows, columns = (np.asarray(at) for at in entries.coords)
    dy, dx = columns // nodes - rows // nodes, columns % nodes - rows % nodes
    apart = np.maximum(abs(dy), abs(dx)).max(initial=0)
    if apart > 2:
        raise ValueError(f"matrix: expected nodes at most two apart to be coupled, got {apart}")
    out = np.zeros((25, nodes * nodes))
    out[(dy + 2) * 5 + dx + 2, rows] = entries.data
    return torch.from_numpy(out).view(25, nodes, nodes)


def cell_ramps(nodes: int, per_node: int) -> Float[Tensor, "Q m 2"]:
    """Weights of the two nodes around the m texels of each cell along one side, Q = nodes + 1, float64
    on the CPU. Before the first node and after the last one, that one counts alone."""
    f = (torch.arange(per_node, dtype=torch.float64) + 0.5) / per_node
    ramps = torch.stack([1.0 - f, f], dim=-1).repeat(nodes + 1, 1, 1)
    ramps[0] = torch.tensor([0.0, 1.0])
    ramps[-1] = torch.tensor([1.0, 0.0])
    return ramps


def node_sums(
    values: Float[Tensor, "e P"],
    places: Int[Tensor, "S S"],
    ramps: Float[Tensor, "Q m 2"],
    pairs: int,
) -> tuple[Float[Tensor, "9 p D D"], Float[Tensor, "s D D"]]:
    """`assembled` of the first `pairs` values of P texels, and `gathered` of the others; float64.

    places: which texel stands where in the square, -1 for none.
    """
    if has_kernels(values.device):
        from hrnfit.solve.nodes_cuda import sums_at_nodes  # local: triton

        return sums_at_nodes(values, places, ramps, pairs)
    beside = torch.cat([values, values.new_zeros(len(values), 1)], dim=1)
    square = beside[:, places.long()]  # -1 takes the zero
    return assembled(square[:pairs], ramps), gathered(square[pairs:], ramps).double()


def gathered(
    square: Float[Tensor, "c S S"], ramps: Float[Tensor, "Q m 2"]
) -> Float[Tensor, "c D D"]:
    """Sum over texels of weight times value at every node, as `MapGrid.gradient`."""
    shares = torch.einsum("cqipj,qiu,pjv->cuvqp", _cells(square, ramps), ramps, ramps)
    rows = shares[:, 0, :, 1:] + shares[:, 1, :, :-1]
    return (rows[:, 0, :, 1:] + rows[:, 1, :, :-1]).contiguous()


def assembled(
    square: Float[Tensor, "c S S"], ramps: Float[Tensor, "Q m 2"]
) -> Float[Tensor, "9 c D D"]:
    """Sum over texels of weight_a weight_b value for nodes a and their neighbours b: the data blocks of
    a `Stencil`, entries of the blocks side by side, as `MapGrid.hessian`. float64.

    ramps: of `cell_ramps`, in the precision of `square`.
    """
    pairs = torch.stack([ramps[..., 0] ** 2, ramps[..., 0] * ramps[..., 1], ramps[..., 1] ** 2], -1)
    shares = torch.einsum("cqipj,qiu,pjv->ucvqp", _cells(square, ramps), pairs, pairs).double()
    # rows first: own node from the cells on both sides, a neighbour from the cell between
    before, after = shares[..., :-1, :], shares[..., 1:, :]
    rows = torch.stack([before[1], after[0] + before[2], after[1]])  # (3, c, v, D, Q)
    before, after = rows[..., :-1], rows[..., 1:]
    columns = [before[:, :, 1], after[:, :, 0] + before[:, :, 2], after[:, :, 1]]
    return torch.stack(columns, dim=1).flatten(0, 1).contiguous()


def _cells(square: Float[Tensor, "c S S"], ramps: Tensor) -> Float[Tensor, "c Q m Q m"]:
    """Texels grouped by the cell of four nodes around them; half a cell of zeros outside."""
    Q, m, _ = ramps.shape
    half = m // 2
    padded = torch.nn.functional.pad(square, (half, half, half, half))
    return padded.view(len(square), Q, m, Q, m)
