"""What a map stage on the device needs that belongs to the model, not to the photographs: kept with the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy.texels import Texels
from hrnfit.fit.free_map import FreeMap
from hrnfit.fit.model_constants import constants_of, map_operator, texels_of
from hrnfit.fit.shared_skin import outside_regions
from hrnfit.model.deformation import DeformationOperator
from hrnfit.model.face_model import FaceModel
from hrnfit.solve.multigrid import Ladder
from hrnfit.solve.stencil import Stencil, cell_ramps, form_from_matrix


@dataclass(frozen=True, eq=False)
class MapConstants:
    """Of one model on a device, one free map and one choice of weights."""

    texels: Texels
    operator: DeformationOperator
    """Samples the deformation map at the vertices."""
    faces: Tensor
    compared: Float[Tensor, "P"]
    """0 for texels that views do not share."""
    ramps: Float[Tensor, "Q m 2"]
    """Of `cell_ramps`, float32."""
    regulariser: Stencil
    """Float64."""
    ladder: Ladder
    """Of its form."""
    basis: Float[Tensor, "k k"]
    """Rows of displacement are solved for in this orthonormal basis: their mean times sqrt(k) first, then
    differences. A stiff tie between rows then stands on the diagonal, and float32 keeps what is soft beside it."""


@dataclass(frozen=True)
class MapWeights:
    """Of the prior, as in `MapSettings`."""

    membrane: float
    bending: float
    size: float
    spread: float


def map_constants(
    model: FaceModel,
    free: FreeMap,
    weights: MapWeights,
    texels: int,
    deformation: int,
    apart: tuple[str, ...],
) -> MapConstants:
    """The same object for the same model and choice.

    texels: per side of the chart. deformation: texels per side of the deformation map, free or not. apart:
    regions that views do not share.
    """
    key = ("map", free, weights, texels, deformation, apart)

    def make() -> MapConstants:
        return _made(model, free, weights, texels, deformation, apart)

    return constants_of(model).once(key, make, model.uv.device)


def _made(
    model: FaceModel,
    free: FreeMap,
    weights: MapWeights,
    size: int,
    deformation: int,
    apart: tuple[str, ...],
) -> MapConstants:
    device, grid = model.uv.device, free.grid
    texels = texels_of(model, size)
    k, n = grid.channels, grid.nodes
    ramps = cell_ramps(n, grid.texels_per_cell(size)).to(device, model.uv.dtype)
    matrix = free.form(model, weights.membrane, weights.bending, weights.size) / free.rows
    form = form_from_matrix(matrix, n).to(device)
    blocks = form.new_zeros(9, k, k, n, n)
    basis = mean_and_differences(k) if free.rows > 1 else torch.eye(k, dtype=torch.float64)
    if free.rows > 1:
        tie = basis @ torch.from_numpy(free.tie(weights.spread)) @ basis.T  # its mean is free
        blocks[4] += torch.diag(tie.diagonal()).to(form)[:, :, None, None]
    return MapConstants(
        texels,
        map_operator(model, deformation),
        model.faces,
        outside_regions(model, texels, apart),
        ramps,
        Stencil(blocks, form),
        Ladder.of(form, k),
        basis.to(device),
    )


def mean_and_differences(k: int) -> Float[Tensor, "k k"]:
    """Helmert's orthonormal basis, float64: first row the mean times sqrt(k)."""
    out = torch.zeros(k, k, dtype=torch.float64)
    out[0] = k**-0.5
    for i in range(1, k):
        out[i, :i], out[i, i] = 1.0, -float(i)
        out[i] /= (i * (i + 1.0)) ** 0.5
    return out
