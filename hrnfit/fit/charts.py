"""What a model's chart is to maps of a size: sampling at the vertices, and its raster. Constants of the model.

Kept as long as the model's texture coordinates, from one fit to the next: at 512 texels the raster takes 17 ms.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.model.deformation import DeformationOperator, deformation_operator
from hrnfit.model.face_model import FaceModel
from hrnfit.render.texture import UvRaster, uv_raster


@dataclass(frozen=True)
class _Kept:
    """By texels per side."""

    vertices: int
    operators: dict[int, DeformationOperator] = field(default_factory=dict)
    rasters: dict[int, UvRaster] = field(default_factory=dict)


_KEPT: MutableMapping[Tensor, _Kept] = WeakIdKeyDictionary()


def _kept(model: FaceModel) -> _Kept:
    if model.uv not in _KEPT:
        _KEPT[model.uv] = _Kept(int(model.faces.max()) + 1)
    return _KEPT[model.uv]


def vertices_of(model: FaceModel) -> int:
    """Vertices of the model's mesh."""
    return _kept(model).vertices


def operator_of(model: FaceModel, size: int) -> DeformationOperator:
    """Sampling of a deformation map of `size` texels per side at the model's vertices."""
    kept = _kept(model)
    if size not in kept.operators:
        kept.operators[size] = deformation_operator(
            model.faces, model.uv, model.uv_faces, kept.vertices, size
        )
    return kept.operators[size]


def chart_of(model: FaceModel, size: int) -> UvRaster:
    """Raster of the chart at `size` texels per side."""
    kept = _kept(model)
    if size not in kept.rasters:
        kept.rasters[size] = uv_raster(model.uv, model.uv_faces, model.faces, size, size)
    return kept.rasters[size]
