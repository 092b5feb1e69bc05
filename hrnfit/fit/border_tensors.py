"""The border of a map's equations in tensors: what head poses and focal lengths add, without a look by the host.

The laws are those of `map_border.py`. A view's columns are laid out among the q packed unknowns by one matrix of
zeros and ones, which is made once per stage.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.shared_albedo import Consensus
from hrnfit.energy.texels import Texels
from hrnfit.solve.solver import Leaves
from hrnfit.solve.stencil import node_sums


class BorderTensors(NamedTuple):
    """What a stage fixes about its border, on the device."""

    layout: Float[Tensor, "V o q"]
    """1 where column o of a view is packed unknown q."""
    prior: Float[Tensor, "q"]
    """Diagonal, float64."""
    start: Float[Tensor, "q"]
    """Packed leaves as the stage found them, float64."""


class BorderEquations(NamedTuple):
    """Float64, prior included."""

    coupling: Float[Tensor, "q k D D"]
    corner: Float[Tensor, "q q"]
    gradient: Float[Tensor, "q"]


def packed(leaves: Leaves, names: tuple[str, ...], like: Tensor) -> Float[Tensor, "q"]:
    """The border's leaves one after the other, in the precision of `like`."""
    parts = [leaves[name].reshape(-1).to(like) for name in names]
    return torch.cat(parts) if parts else like.new_zeros(0)


def unpacked(values: Float[Tensor, "q"], leaves: Leaves, names: tuple[str, ...]) -> Leaves:
    """Inverse of `packed`: changes in the shape and precision of the leaves."""
    sizes = [leaves[name].numel() for name in names]
    parts = values.split(sizes) if names else ()
    return {n: part.to(leaves[n]).view_as(leaves[n]) for n, part in zip(names, parts, strict=True)}


def border_equations(
    columns: Float[Tensor, "V P 3 o"],
    centred: Float[Tensor, "V P 3 k"],
    agreed: Consensus,
    border: BorderTensors,
    moved: Float[Tensor, "q"],
    texels: Texels,
    ramps: Float[Tensor, "Q m 2"],
) -> BorderEquations:
    """Coupling, corner and gradient. columns: derivative of each view's colours in its own unknowns."""
    layout = border.layout.to(columns)
    weight = agreed.weight / agreed.seen
    weighted = weight[..., None, None] * columns
    cross = torch.einsum("vpck,vpco,voq->pqk", centred, weighted, layout)
    _, coupling = node_sums(cross.flatten(1).T, texels.places, ramps, 0)
    q, nodes = layout.shape[-1], coupling.shape[-1]
    wide = border.layout.double()
    own = torch.einsum("vpco,vpcr->vor", weighted, columns).double()
    # float64: common moves of all views cancel between the two parts but for the prior
    total = weight.sum(0).clamp_min(1e-12).double()
    mean = torch.einsum("vpco,voq->pcq", weighted.double(), wide) / total.sqrt()[:, None, None]
    flat = mean.flatten(0, 1)
    corner = torch.einsum("voq,vor,vrs->qs", wide, own, wide) - flat.mT @ flat
    pull = torch.einsum("vpco,vpc->vo", weighted, agreed.residual).double()
    gradient = torch.einsum("vo,voq->q", pull, wide)
    return BorderEquations(
        coupling.view(q, -1, nodes, nodes),
        corner + torch.diag(border.prior),
        gradient + border.prior * moved,
    )
