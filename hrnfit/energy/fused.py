"""Terms whose energy and gradient kernels of our own compute at once, by the class of the term.

The law stays in the term: `reduce` of its residuals. A fused form may decline where it does not apply, and has
first derivatives only, so that only solvers use it that need no more. Terms that read the same are computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from hrnfit.energy import fused_views as seen
from hrnfit.energy.contour import NearestContour, edges_of_views
from hrnfit.energy.fused_light import light_group
from hrnfit.energy.fused_maps import map_group
from hrnfit.energy.fused_total import Group, Weighted, fused_total
from hrnfit.energy.fused_triangles import triangle_group
from hrnfit.energy.landmark import CONTOURS, LandmarkTerm, spread_weight
from hrnfit.energy.photometric import Photometric
from hrnfit.energy.prior import (
    AlbedoMapChroma,
    AlbedoMapSize,
    AlbedoMapVariation,
    LightColour,
    LightSoftness,
    chroma,
)
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
from hrnfit.energy.term import Prediction, Term
from hrnfit.geometry.kept import kept_with
from hrnfit.model.face_model import LandmarkSet
from hrnfit.observe.observation import WorkingViews

Wanted = dict[str, tuple[Any, Weighted]]
"""Terms of a group, each by its role there."""


@dataclass(frozen=True)
class Role:
    """What a term is to its group."""

    group: Hashable
    """Names the group: terms of one name are computed together."""
    role: str
    """One term of each role fits into a group."""
    build: Callable[[Wanted, Prediction, WorkingViews], Group]
    """Makes the group."""
    applies: Callable[[Prediction], bool] = lambda _: True
    """Whether there is a fused form of the prediction."""


def energies(
    terms: Sequence[tuple[Term, Weighted]], prediction: Prediction, views: WorkingViews
) -> tuple[Tensor, dict[str, Tensor]] | None:
    """Weighted sum of the terms that have a fused form, and their energies by name; None if none has."""
    together: dict[tuple[Hashable, int], Wanted] = {}
    build: dict[tuple[Hashable, int], Callable[[Wanted, Prediction, WorkingViews], Group]] = {}
    for term, weighted in terms:
        found = ROLES.get(type(term))
        if found is None or not found.applies(prediction):
            continue
        # two terms of one class, with settings of their own, are two groups
        count = sum(
            found.role in wanted for (name, _), wanted in together.items() if name == found.group
        )
        key = (found.group, count)
        build[key] = found.build
        together.setdefault(key, {})[found.role] = (term, weighted)
    if not together:
        return None
    return fused_total([build[key](x, prediction, views) for key, x in together.items()])


def _of_map(leaf: str, role: str, change: Any = None) -> Role:
    """An energy of a map of the state, in the used part of the chart, with the term's own scale."""

    def build(wanted: Wanted, prediction: Prediction, _views: WorkingViews) -> Group:
        found = getattr(prediction.state, leaf)
        map_size = found.shape[1:3] if leaf == "displacement" else found.shape[:2]
        used = used_by_model(prediction, *map_size)
        read = found[..., None] if leaf == "displacement" else found
        scales = {name: (weighted, term.scale) for name, (term, weighted) in wanted.items()}
        return map_group(read if change is None else change(read), used, scales)

    return Role((leaf, change), role, build)


def _rests(prediction: Prediction) -> bool:
    """Whether triangles are compared with a constant shape."""
    return not prediction.coarse_head.requires_grad


def _pair(wanted: Wanted, first: str, second: str) -> list[tuple[Weighted, Any] | None]:
    """Two roles of a group, each with its term."""
    return [(wanted[x][1], wanted[x][0]) if x in wanted else None for x in (first, second)]


def _triangles(wanted: Wanted, p: Prediction, _views: WorkingViews) -> Group:
    strain, fold = _pair(wanted, "strain", "fold")
    return triangle_group(
        p.vertices_head, p.coarse_head, p.model.faces,
        strain and (strain[0], strain[1].scale), fold and (fold[0], fold[1].allowed),
    )  # fmt: skip


def _light(wanted: Wanted, p: Prediction, _views: WorkingViews) -> Group:
    colour, softness = _pair(wanted, "colour", "softness")
    return light_group(
        p.state.light,
        colour and (colour[0], colour[1].scale),
        softness and (softness[0], softness[1].scale),
    )


def _landmark(wanted: Wanted, p: Prediction, views: WorkingViews) -> Group:
    ((term, weighted),) = wanted.values()
    marks = p.model.landmarks[term.scheme]
    (weight, neighbours), _ = kept_with(
        marks.spread,
        ("landmark energy", term.scheme, id(marks.triangles)),
        lambda: (_landmark_tables(marks, term.scheme), marks.triangles),
    )
    return seen.landmark_group(
        weighted, p.landmark_pixels(term.scheme), views.landmarks, views.landmark_confidence,
        _mm(p, views), weight, neighbours,
    )  # fmt: skip


def _contour(wanted: Wanted, p: Prediction, views: WorkingViews) -> Group:
    ((term, weighted),) = wanted.values()
    outline, _ = _outline(p)
    limits = (term.reach, term.agreement, term.pull_in)
    edges = edges_of_views(views)[0]
    return seen.contour_group(weighted, p.points, outline, edges, _mm(p, views), limits)


def _seen(wanted: Wanted, p: Prediction, views: WorkingViews) -> Group:
    colour = coverage = None
    if "colour" in wanted:
        term, weighted = wanted["colour"]
        image, normals = p.painted
        triangle, T = p.raster.triangle, p.projection.T_cam_world
        photo = seen.Photographed(views.images, normals, triangle, T, term.least_cosine)
        colour = (weighted, photo)
    else:
        image = p.coverage[..., None]
    if "coverage" in wanted:
        term, weighted = wanted["coverage"]
        radius, edges = max(1, round(term.band * views.size)), edges_of_views(views)[0]
        band = seen.outline_band(_outline(p)[1], radius)
        coverage = (weighted, seen.Outlined(band, edges.valid, _mm(p, views), radius))
    return seen.seen_group(image, views.masks, colour, coverage)


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
    """Width of a pixel per view: `contour.mm_per_pixel`."""
    points, focal = prediction.points, prediction.state.log_focal
    return _kept(prediction, "mm", lambda: seen.pixel_widths(points, views.K, focal))


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


ROLES: dict[type, Role] = {
    DeformationVariation: _of_map("deformation", "variation"),
    DeformationBending: _of_map("deformation", "bending"),
    DeformationSize: _of_map("deformation", "size"),
    DisplacementSize: _of_map("displacement", "size"),
    DisplacementVariation: _of_map("displacement", "isotropic"),
    AlbedoMapSize: _of_map("albedo_map", "size"),
    AlbedoMapVariation: _of_map("albedo_map", "isotropic"),
    AlbedoMapChroma: _of_map("albedo_map", "isotropic", chroma),
    Rigidity: Role("triangles", "strain", _triangles, _rests),
    FoldBarrier: Role("triangles", "fold", _triangles, _rests),
    LightColour: Role("light", "colour", _light),
    LightSoftness: Role("light", "softness", _light),
    Photometric: Role("image", "colour", _seen),
    Silhouette: Role("image", "coverage", _seen),
    LandmarkTerm: Role("landmarks", "landmarks", _landmark),
    NearestContour: Role("contour", "contour", _contour),
}
