"""`DeformationOperator.fit_map` on the device: the smoothest map that gives the vertices their offsets.

A vertex on a seam joins texels far apart, which no stencil holds. The equations are therefore applied as sampling and
its transpose, and the stencil of each place in the chart for itself preconditions them.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.model.deformation import DeformationOperator, roughness
from hrnfit.solve.map_newton import conjugate_gradients
from hrnfit.solve.multigrid import Ladder, Multigrid
from hrnfit.solve.stencil import Stencil, form_from_matrix

ROUNDS = 16
"""Steps of conjugate gradients; the seams cost a few more than a stencil alone."""
RIDGE = 1e-9
"""On the map itself, as in `fit_map`."""


def fitted_map(
    operator: DeformationOperator,
    offsets: Float[Tensor, "N 3"],
    weight: Float[Tensor, "N"],
    smoothness: float = 1e-3,
    rounds: int = ROUNDS,
) -> tuple[Float[Tensor, "D D 3"], Float[Tensor, ""]]:
    """The map of `DeformationOperator.fit_map` and its largest relative residual, without a look by the host.

    operator, offsets, weight: on one device, on which everything is computed, in float64.
    """
    size, taps = operator.size, operator.texels.long()
    share = operator.weights.double()
    trust = weight.double()
    ladder = _ladder(size, smoothness, offsets.device)
    form = Stencil(share.new_zeros(9, 1, 1, size, size), ladder.forms[0])

    def spread(values: Float[Tensor, "c N"]) -> Float[Tensor, "c 1 D D"]:
        out = values.new_zeros(len(values), size * size)
        out.index_add_(1, taps.flatten(), (values[..., None] * share).flatten(1))
        return out.view(-1, 1, size, size)

    def normal(maps: Float[Tensor, "c 1 D D"]) -> Float[Tensor, "c 1 D D"]:
        read = (maps.flatten(1)[:, taps] * share).sum(-1)
        return form(maps) + spread(trust * read)

    precondition = Multigrid.of(Stencil(_places(operator, trust), ladder.forms[0]), ladder)
    right = spread((trust[:, None] * offsets.double()).T)
    solved, left = conjugate_gradients(normal, right, precondition, rounds)
    return solved[:, 0].movedim(0, -1).to(offsets), left


def _places(operator: DeformationOperator, trust: Float[Tensor, "N"]) -> Float[Tensor, "9 1 1 D D"]:
    """What each place of a vertex in the chart, four texels, adds to the equations by itself."""
    size = operator.size
    taps = operator.texels.long().view(len(trust), -1, 4)
    share = operator.weights.double().view(taps.shape)
    here, there = taps[..., :, None], taps[..., None, :]
    value = trust[:, None, None, None] * share[..., :, None] * share[..., None, :]
    row = torch.div(there, size, rounding_mode="floor") - torch.div(
        here, size, rounding_mode="floor"
    )
    offset = (row + 1) * 3 + there % size - here % size + 1
    out = value.new_zeros(9 * size * size)
    out.index_add_(0, (offset * size * size + here).flatten(), value.flatten())
    return out.view(9, 1, 1, size, size)


@lru_cache(maxsize=8)
def _ladder(size: int, smoothness: float, device: torch.device) -> Ladder:
    """Regulariser of maps of a size; a constant, so recordings may hold it."""
    form = smoothness * form_from_matrix(roughness(size), size)
    form[12] += RIDGE
    return Ladder.of(form.to(device), 1)
