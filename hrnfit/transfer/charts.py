"""Maps of the source's chart resampled into the target's chart.

A texel lies in a triangle of the target; its place in the source's chart is interpolated between the
places of the triangle's corners. Where these lie apart, across a seam of the source's chart, the nearest
place of the source's surface is looked up instead.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.geometry.map_fill import fill
from hrnfit.geometry.nearest import NearestTriangles
from hrnfit.render.texture import uv_interpolate, uv_raster
from hrnfit.transfer.correspondence import Correspondence
from hrnfit.transfer.face_mesh import FaceMesh

TORN = 4.0
"""A triangle whose corners lie this many times as far apart in the source's chart as their distance on
the surface lets expect crosses a seam."""


class ChartTransfer:
    """Where every texel of the target's chart lies in the source's."""

    def __init__(
        self, correspondence: Correspondence, target: FaceMesh, source: FaceMesh, size: int
    ) -> None:
        """ValueError when the target has no chart of one tile in [0, 1]."""
        check_chart(target)
        faces = target.faces.cpu()
        self.raster = uv_raster(*_chart(target), faces, size, size)
        known = correspondence.valid[faces.long()].all(1)
        triangle = self.raster.triangle.clamp_min(0).long()
        self.known: Bool[Tensor, "S S"] = self.raster.mask & known[triangle]
        self.uv = self._places(correspondence, faces, source, known)

    def _places(
        self,
        correspondence: Correspondence,
        faces: Int[Tensor, "F 3"],
        source: FaceMesh,
        known: Bool[Tensor, "F"],
    ) -> Float[Tensor, "S S 2"]:
        flat = _on_chart(source, correspondence.triangles, correspondence.barycentric)
        places = uv_interpolate(flat.float(), self.raster)
        on_source = correspondence.on(source.vertices, source.faces)
        torn = _torn(flat, on_source, faces) & known
        rows = (torn[self.raster.triangle.clamp_min(0).long()] & self.known).nonzero()
        if len(rows):
            at = rows[:, 0], rows[:, 1]
            points = uv_interpolate(on_source.float(), self.raster)[at]
            found = NearestTriangles(source.vertices, source.faces)(points)
            places[at] = _on_chart(source, found.triangle, found.barycentric).to(places)
        return places

    def __call__(
        self, values: Float[Tensor, "H W C"], smooth: bool = True
    ) -> Float[Tensor, "S S C"]:
        """A map in the target's chart; filled smoothly where the source has no such place, 0 off the
        chart, or 0 in both without `smooth`."""
        grid = (2.0 * self.uv - 1.0)[None].to(values)
        planes = values.movedim(-1, 0)[None]
        read = torch.nn.functional.grid_sample(
            planes, grid, align_corners=False, padding_mode="border"
        )
        sampled = read[0].movedim(0, -1) * self.known[..., None].to(values)
        return fill(sampled, self.known, self.raster.mask) if smooth else sampled


def _chart(face: FaceMesh) -> tuple[Float[Tensor, "Nuv 2"], Int[Tensor, "F 3"]]:
    """Texture coordinates and their triangles."""
    if face.uv is None or face.uv_faces is None or not len(face.uv):
        raise ValueError(f"'{face.name}' has no texture coordinates, so no map can be baked for it")
    return face.uv.cpu(), face.uv_faces.cpu()


def check_chart(face: FaceMesh) -> None:
    """ValueError when a face has no texture coordinates, or some outside of one tile."""
    uv, _ = _chart(face)
    low, high = float(uv.min()), float(uv.max())
    if low < -1e-3 or high > 1.0 + 1e-3:
        raise ValueError(
            f"'{face.name}': texture coordinates from {low:.3g} to {high:.3g}: maps are baked for one tile in "
            "[0, 1] only (no UDIM)"
        )


def _on_chart(
    face: FaceMesh, triangles: Int[Tensor, "P"], weights: Float[Tensor, "P 3"]
) -> Float[Tensor, "P 2"]:
    """Texture coordinates of places on a surface."""
    uv, uv_faces = _chart(face)
    corners = uv[uv_faces[triangles.clamp_min(0).long()].long()].double()
    return (corners * weights.double()[..., None]).sum(1)


def _torn(
    flat: Float[Tensor, "N 2"], points: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]
) -> Bool[Tensor, "F"]:
    """Triangles that are far larger in the source's chart than on its surface."""
    index = faces.long()

    def longest(x: Tensor) -> Float[Tensor, "F"]:
        corners = x[index].double()
        return (corners - corners.roll(1, dims=1)).norm(dim=-1).amax(1)

    ratio = longest(flat) / longest(points).clamp_min(1e-6)
    return ratio > TORN * ratio.median()
