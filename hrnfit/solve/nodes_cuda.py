"""`stencil.node_sums` by one Triton kernel. Imported only where a CUDA device is used."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.launched import width_of
from hrnfit.solve import node_kernels
from hrnfit.solve.cycle_cuda import padded


def sums_at_nodes(
    values: Float[Tensor, "e P"],
    places: Int[Tensor, "S S"],
    ramps: Float[Tensor, "Q m 2"],
    pairs: int,
) -> tuple[Float[Tensor, "9 p D D"], Float[Tensor, "s D D"]]:
    """See `stencil.node_sums`."""
    (e, P), (cells, m, _), S = values.shape, ramps.shape, len(places)
    D, side = cells - 1, padded(m)
    paired = values.new_empty(9, pairs, D, D, dtype=torch.float64)
    single = values.new_empty(e - pairs, D, D, dtype=torch.float64)
    block = min(width_of(max(1, min(128, 1024 // side**2))), padded(D * D))
    node_kernels.node_sums[(-(-D * D // block), e)](
        values.contiguous(), places.contiguous(), paired, single,
        P, S, D, m, pairs, MP=side, BLOCK=block,
    )  # fmt: skip
    return paired, single
