"""Terms whose energy and gradient kernels of our own compute at once, by the class of the term.

The law stays in the term: `reduce` of its residuals. A fused form may decline (None) where it does not apply,
and has first derivatives only, so that only solvers use it that need no more.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.energy import fused_maps as maps
from hrnfit.energy import fused_triangles as triangles
from hrnfit.energy import fused_views as seen
from hrnfit.energy.contour import NearestContour, edges_of_views, mm_per_pixel
from hrnfit.energy.landmark import CONTOURS, LandmarkTerm, spread_weight
from hrnfit.energy.photometric import Photometric
from hrnfit.energy.prior import AlbedoMapChroma, AlbedoMapSize, AlbedoMapVariation, chroma
from hrnfit.energy.rigidity import FoldBarrier, Rigidity
from hrnfit.energy.silhouette import Silhouette
from hrnfit.energy.smooth import (
    DeformationBending,
    DeformationSize,
    DeformationVariation,
    DisplacementSize,
    DisplacementVariation,
    used_by_model,
)
from hrnfit.energy.term import Prediction
from hrnfit.geometry.kept import kept_with
from hrnfit.model.face_model import LandmarkSet
from hrnfit.observe.observation import WorkingViews

Fused = Callable[[Any, Prediction, WorkingViews, str], "Tensor | None"]
"""Of a term, a prediction, the views and a robust kernel: the reduced energy."""


def _of_map(
    leaf: str, energy: Callable[[Tensor, Tensor, float, str], Tensor], change: Any = None
) -> Fused:
    """An energy of a map of the state, in the used part of the chart, with the term's own scale."""

    def value(term: Any, prediction: Prediction, _views: WorkingViews, kernel: str) -> Tensor:
        found = getattr(prediction.state, leaf)
        map_size = found.shape[1:3] if leaf == "displacement" else found.shape[:2]
        used = used_by_model(prediction, *map_size)
        read = found[..., None] if leaf == "displacement" else found
        return energy(read if change is None else change(read), used, term.scale, kernel)

    return value


def _rigidity(term: Rigidity, p: Prediction, _views: WorkingViews, kernel: str) -> Tensor | None:
    if p.coarse_head.requires_grad:
        return None
    return triangles.strain_energy(
        p.vertices_head, p.coarse_head, p.model.faces, term.scale, kernel
    )


def _fold(term: FoldBarrier, p: Prediction, _views: WorkingViews, kernel: str) -> Tensor | None:
    if p.coarse_head.requires_grad:
        return None
    return triangles.fold_energy(
        p.vertices_head, p.coarse_head, p.model.faces, term.allowed, kernel
    )


def _photometric(term: Photometric, p: Prediction, views: WorkingViews, kernel: str) -> Tensor:
    return seen.photometric_energy(
        p.image, views.images, p.facing_normals, p.raster.triangle, views.masks,
        p.projection.T_cam_world, term.least_cosine, kernel,
    )  # fmt: skip


def _landmark(term: LandmarkTerm, p: Prediction, views: WorkingViews, kernel: str) -> Tensor:
    marks = p.model.landmarks[term.scheme]
    (weight, neighbours), _ = kept_with(
        marks.spread,
        ("landmark energy", term.scheme, id(marks.triangles)),
        lambda: (_landmark_tables(marks, term.scheme), marks.triangles),
    )
    return seen.landmark_energy(
        p.landmark_pixels(term.scheme), views.landmarks, views.landmark_confidence,
        _mm(p, views), weight, neighbours, kernel,
    )  # fmt: skip


def _contour(term: NearestContour, p: Prediction, views: WorkingViews, kernel: str) -> Tensor:
    outline, _ = _outline(p)
    limits = (term.reach, term.agreement, term.pull_in)
    edges = edges_of_views(views)[0]
    return seen.contour_energy(p.points, outline, edges, _mm(p, views), limits, kernel)


def _silhouette(term: Silhouette, p: Prediction, views: WorkingViews, kernel: str) -> Tensor:
    _, planes = _outline(p)
    radius, edges = max(1, round(term.band * views.size)), edges_of_views(views)[0]
    return seen.silhouette_energy(
        p.coverage, views.masks, planes, edges, _mm(p, views), radius, kernel
    )


_KEPT: MutableMapping[Prediction, dict[str, Any]] = WeakIdKeyDictionary()
"""What several terms of one prediction read. By the prediction, not by its tensors: a recording's buffers
stay the same when what they hold does not."""


def _kept(prediction: Prediction, name: str, compute: Callable[[], Any]) -> Any:
    if prediction not in _KEPT:
        _KEPT[prediction] = {}
    values = _KEPT[prediction]
    if name not in values:
        values[name] = compute()
    return values[name]


def _mm(prediction: Prediction, views: WorkingViews) -> Tensor:
    """Width of a pixel per view."""
    return _kept(prediction, "mm", lambda: mm_per_pixel(prediction, views)[:, 0].contiguous())


def _outline(p: Prediction) -> tuple[Tensor, Tensor]:
    return _kept(p, "outline", lambda: seen.outline_of(p.points, p.model.faces, p.raster.triangle))


def _landmark_tables(marks: LandmarkSet, scheme: str) -> tuple[Tensor, Tensor]:
    """Weight of each point by its spread, and its neighbours on the contour (itself twice off it)."""
    weight = spread_weight(marks.spread) * (marks.triangles >= 0)
    table = torch.arange(len(weight)).repeat(2, 1).T.contiguous()
    ring, closed = CONTOURS.get(scheme, ((), False))
    for k, point in enumerate(ring):
        last = len(ring) - 1
        before = ring[k - 1] if closed or k > 0 else point
        after = ring[(k + 1) % len(ring)] if closed or k < last else point
        table[point] = torch.tensor([before, after])
    device = marks.triangles.device
    return weight.to(device), table.int().to(device)


FUSED: dict[type, Fused] = {
    DeformationVariation: _of_map("deformation", maps.variation_energy),
    DeformationBending: _of_map("deformation", maps.bending_energy),
    DeformationSize: _of_map("deformation", maps.size_energy),
    DisplacementSize: _of_map("displacement", maps.size_energy),
    DisplacementVariation: _of_map("displacement", maps.isotropic_energy),
    AlbedoMapSize: _of_map("albedo_map", maps.size_energy),
    AlbedoMapVariation: _of_map("albedo_map", maps.isotropic_energy),
    AlbedoMapChroma: _of_map("albedo_map", maps.isotropic_energy, chroma),
    Rigidity: _rigidity,
    FoldBarrier: _fold,
    Photometric: _photometric,
    LandmarkTerm: _landmark,
    NearestContour: _contour,
    Silhouette: _silhouette,
}
