"""Builds the hierarchy of a multigrid cycle by Triton kernels: one launch for every level, one for the dense inverse.

The laws stand in `multigrid.py`, the kernels in `hierarchy_kernels.py`. Memory: 25 k^2 doubles and as many floats per
node of every level but the finest, which has 9 of each.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.solve import hierarchy_kernels
from hrnfit.solve.cycle_cuda import (
    Bottom,
    CudaLevel,
    CudaMultigrid,
    in_registers,
    nodes_at_once,
    padded,
    reach,
)
from hrnfit.solve.multigrid import RULES, Ladder
from hrnfit.solve.stencil import Stencil


def hierarchy(
    stencil: Stencil, stiffness: Float[Tensor, "k H W"], damping: Float[Tensor, ""], ladder: Ladder
) -> CudaMultigrid:
    """`Multigrid.of(stencil.damped(damping * stiffness), ladder)`, float64."""
    k = stencil.blocks.shape[1]
    levels: list[CudaLevel] = []
    body, blocks = stencil, stencil.blocks
    for i, form in enumerate(ladder.forms):
        formed = i == 0 and len(ladder.products) > 1
        offsets = len(blocks) if formed else 25
        shape = (k, k, *form.shape[1:])
        own = blocks.new_empty(offsets + 1, *shape, dtype=torch.float32)
        single, inverse = own[:offsets], own[offsets]
        if i == 0:
            blocks = _damped(stencil, stiffness, damping, single, inverse, formed)
            body = Stencil(blocks, stencil.form)
        else:
            blocks = _coarsened(blocks, ladder, i, single, inverse)
        kept = ladder.single if formed else None
        levels.append(CudaLevel(single, kept, inverse, RULES[min(i, 1)]))
    coarsest = _inverse(Stencil(blocks, ladder.forms[-1]))
    above = levels[:-1]
    if above and in_registers(above[-1].blocks):
        return CudaMultigrid(body, tuple(above[:-1]), Bottom(above[-1], coarsest))
    return CudaMultigrid(body, tuple(above), Bottom(None, coarsest))


def _damped(
    stencil: Stencil,
    stiffness: Tensor,
    damping: Tensor,
    single: Tensor,
    inverse: Tensor,
    formed: bool,
) -> Float[Tensor, "O k k H W"]:
    """Blocks of the damped stencil, float64. Fills `single` and `inverse` with what the finest level reads; formed: its
    form is kept beside the blocks."""
    count, k, _, H, W = stencil.blocks.shape
    out = torch.empty_like(stencil.blocks)
    block = nodes_at_once(H * W, k * k, 128)
    hierarchy_kernels.begin_hierarchy[(-(-H * W // block), count if formed else 25)](
        stencil.blocks.contiguous(), stencil.form.contiguous(), stiffness.contiguous(), damping,
        out, single, inverse, H * W,
        K=k, KP=padded(k), REACH=reach(stencil.blocks), FORMED=formed, BLOCK=block,
    )  # fmt: skip
    return out


def _coarsened(
    blocks: Float[Tensor, "O k k n n"], ladder: Ladder, i: int, single: Tensor, inverse: Tensor
) -> Float[Tensor, "25 k k m m"]:
    """Blocks of level i from those above, float64; fills `single` and `inverse` unless it is the coarsest."""
    form, (_, k, _, n, _) = ladder.forms[i], blocks.shape
    m = form.shape[-1]
    out = blocks.new_empty(25, k, k, m, m)
    block, wide = nodes_at_once(m * m, padded(k) ** 2, 128), padded(k)
    hierarchy_kernels.coarsen[(-(-m * m // block), 25)](
        blocks, ladder.products[i - 1], form, out, single, inverse, n, m,
        K=k, KP=wide, REACH=reach(blocks), LAST=i == len(ladder.products), BLOCK=block,
        num_warps=4 if wide <= 8 else 16,
    )  # fmt: skip
    return out


def _inverse(stencil: Stencil) -> Float[Tensor, "m m"]:
    """Dense inverse of the coarsest level, float32."""
    _, k, _, n, _ = stencil.blocks.shape
    m = k * n * n
    out = stencil.blocks.new_empty(m, m, dtype=torch.float32)
    room = stencil.blocks.new_empty(padded(m) + 2, padded(m))
    hierarchy_kernels.invert_coarsest[(1,)](
        stencil.blocks, stencil.form, room, out, n,
        K=k, REACH=reach(stencil.blocks), MP=padded(m), num_warps=8,
    )  # fmt: skip
    return out
