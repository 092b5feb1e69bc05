"""Maps of the released HRN code, for its released weights: what they saw in training, slips and all.

The one place, with `released_sampling`, `released_detail` and `released_albedo`, that knows the
released order of sampling, its half-texel offset, exchanged rows, turned detail normals, mask
smoothing and epsilon. `Released` has the methods of `infer/convention.py`. Lengths are decimetres, x
right, y up, z to the viewer; the camera at (0, 0, 10) has a focal length of 1015 px on 224 px. Maps
have row 0 at the chart's top and texel centres at (i + 0.5) / S, as ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.check import check_shape
from hrnfit.nets.released_detail import (
    detail_normals,
    displacement_sign,
    equal_normals,
    tells_tilt,
)
from hrnfit.nets.released_sampling import look_up_deformation, look_up_picture, smoothed_mask

MM_PER_UNIT = 100.0
FOCAL, CENTRE, SIZE, DISTANCE = 1015.0, 112.0, 224, 10.0
"""px, px, px, decimetres: the analyzer's camera."""


@dataclass(frozen=True)
class Released:
    """The released maps of one topology; a `MapConvention`. Build it with `Released.of`."""

    triangle: Int[Tensor, "S S"]
    """Triangle of each texel centre, -1 outside the chart; S is 256 for the released weights."""
    barycentric: Float[Tensor, "S S 3"]
    """Weights of the triangle's corners, 0 outside."""
    faces: Int[Tensor, "F 3"]
    """Triangles, counter-clockwise seen from outside."""
    uv: Float[Tensor, "N 2"]
    """Each vertex's place in the chart, 0..1, v down."""
    fit_map: Callable[[Tensor], Tensor] = field(repr=False)
    """Offsets (N, 3) mm at the vertices to the map of ours (D, D, 3) mm that gives them best."""
    fit_displacement: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] = field(repr=False)
    """Positions (mm) and normals in the chart, wanted detail normals (0 where unknown), each (S, S, 3), a
    prior (S, S) mm and the mask to the map of ours (S, S) mm whose detail normals come closest."""
    sign: float
    """1 or -1: from a released displacement to ours on skin that faces the viewer."""

    @staticmethod
    def of(
        triangle: Int[Tensor, "S S"],
        barycentric: Float[Tensor, "S S 3"],
        faces: Int[Tensor, "F 3"],
        uv: Float[Tensor, "Nuv 2"],
        uv_faces: Int[Tensor, "Fuv 3"],
        fit_map: Callable[[Tensor], Tensor],
        fit_displacement: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor],
    ) -> Released:
        """The maps of a topology, from its constant UV raster (`render/texture.py`) and its chart.

        `fit_map` is `DeformationOperator.fit_map` of the chart, `fit_displacement` is
        `render/normal_integration.py:displacement_from_normals`. Raises ValueError when a vertex has
        several places in the chart, or when parts of the chart are mirrored against each other.
        """
        _check_one_place(faces, uv, uv_faces)
        sign = displacement_sign(faces, uv)
        return Released(triangle, barycentric, faces, uv, fit_map, fit_displacement, sign)

    @property
    def mask(self) -> Bool[Tensor, "S S"]:
        """True inside the chart."""
        return self.triangle >= 0

    def position_map(self, shape: Float[Tensor, "N 3"]) -> Float[Tensor, "3 S S"]:
        """The unposed shape (identity and expression) in the chart, decimetres as they are; 0 outside."""
        return self._raster(shape).permute(2, 0, 1)

    def texture(
        self, image: Float[Tensor, "3 H H"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "3 S S"]:
        """The crop (512 px for the released weights) in the chart, whether a texel is seen or not.

        Texels outside the chart all have the colour of the picture's bottom left pixel.
        """
        return look_up_picture(image, self._places(posed, image.shape[-1]))

    def face_mask(
        self, mask: Float[Tensor, "h h"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "S S"]:
        """The crop's face mask in the chart, looked up as the texture is, not smoothed."""
        return look_up_picture(mask[None], self._places(posed, mask.shape[-1]))[0]

    def valid_mask(
        self, mask: Float[Tensor, "h h"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "S S"]:
        """The smoothed face mask: the released demo multiplies both maps with it, after the networks.

        Bilinear at 64 texels for the deformation, as it is for the displacement. Called without
        pictures of the result, the released code leaves out the smoothing: that is `face_mask`.
        """
        return smoothed_mask(self.face_mask(mask, posed))

    def vertex_offsets(self, deformation: Float[Tensor, "3 D D"]) -> Float[Tensor, "N 3"]:
        """Offset of every vertex before posing, decimetres: half a texel off our texel centres."""
        return look_up_deformation(deformation, self.uv.to(deformation))

    def deformation(self, deformation: Float[Tensor, "3 D D"]) -> Float[Tensor, "D D 3"]:
        """The map of ours, mm, that moves the vertices like the released one, by least squares.

        The half texel makes the two interpolations differ: a map of theirs has no exact one of ours.
        """
        fitted = self.fit_map(MM_PER_UNIT * self.vertex_offsets(deformation))
        side = deformation.shape[-1]
        check_shape(
            "fit_map: its map",
            fitted,
            (side, side, 3),
            f"build the deformation operator with size={side}",
        )
        return fitted

    def displacement(
        self, displacement: Float[Tensor, "1 S S"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "S S"]:
        """The map of ours, mm outwards, whose detail normals come closest to the released ones.

        By least squares, near one sign times theirs, which is right where skin faces the viewer: see
        `released_detail` for how near it comes. 0 outside the chart. Has no gradient.
        """
        normals = self._raster(equal_normals(posed, self.faces))
        wanted = self.detail_normals(displacement, posed).permute(1, 2, 0)
        told = tells_tilt(self.mask, normals)[..., None]
        return self.fit_displacement(
            MM_PER_UNIT * self._raster(posed),
            normals,
            torch.where(told, wanted, 0.0),
            MM_PER_UNIT * self.sign * displacement[0] * self.mask.to(displacement),
            self.mask,
        )

    def detail_normals(
        self, displacement: Float[Tensor, "1 S S"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "3 S S"]:
        """What the released code shades with, in the frame of `posed`; not of unit length."""
        normals = self._raster(equal_normals(posed, self.faces))
        return detail_normals(self._raster(posed), normals, displacement[0]).permute(2, 0, 1)

    def _raster(self, values: Float[Tensor, "N C"]) -> Float[Tensor, "S S C"]:
        """Values of the vertices at the texels, 0 outside the chart."""
        check_shape(
            "vertices", values, (len(self.uv), "C"), "pass the mesh that the chart belongs to"
        )
        corners = values[self.faces.long()[self.triangle.long().clamp_min(0)]]
        weights = torch.where(self.mask[..., None], self.barycentric.to(values), 0.0)
        return (corners * weights[..., None]).sum(dim=-2)

    def _places(self, posed: Float[Tensor, "N 3"], side: int) -> Float[Tensor, "S S 2"]:
        """(column, row) of every texel in a crop of `side` px.

        Outside the chart the released projection is 0 / 0, which it replaces by the place (0, 0) of a
        picture whose y points up.
        """
        points = self._raster(posed)
        depth = DISTANCE - points[..., 2:]
        flat = (FOCAL * points[..., :2] + CENTRE * depth) / depth * (side / SIZE)
        flat = torch.where(self.mask[..., None], flat, 0.0)
        return torch.stack([flat[..., 0], side - 1 - flat[..., 1]], dim=-1)


def _check_one_place(faces: Tensor, uv: Tensor, uv_faces: Tensor) -> None:
    """Texture vertex i belongs to vertex i, in all triangles."""
    if faces.shape != uv_faces.shape:
        raise ValueError(
            f"uv_faces: expected the shape of faces {tuple(faces.shape)}, got {tuple(uv_faces.shape)}"
        )
    other = int((faces.long() != uv_faces.long().to(faces.device)).any(dim=1).sum())
    if other:
        raise ValueError(
            f"uv_faces: {other} of {len(faces)} triangles have other corners in the chart than in the "
            "mesh; released weights need a chart with one place per vertex, as bfm_uvs2.npy has: import "
            "the Basel model with it, or take networks that were trained on this chart"
        )
    if int(faces.max()) >= len(uv):
        raise ValueError(
            f"uv: expected a place for each of {int(faces.max()) + 1} vertices, got {len(uv)}"
        )
