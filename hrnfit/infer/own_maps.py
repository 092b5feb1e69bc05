"""The networks' maps as they should be: for any model, by visibility, without the released offsets.

Against `nets/released.py`: texels and pixels are looked up at their centres, what the picture does not
show is filled in rather than copied from the skin before it, the face mask leaves hidden texels out, and
the deformation map is sampled on the grid it was made on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.check import check_shape
from hrnfit.geometry.map_fill import fill
from hrnfit.importers.deep3d import MM_PER_UNIT
from hrnfit.infer.texel_view import TexelView, texel_view
from hrnfit.model.deformation import DeformationOperator, deformation_operator
from hrnfit.model.face_model import FaceModel
from hrnfit.render.backend import rasterizer as renderer
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.render.texture import UvRaster, dilate, uv_interpolate, uv_raster

CROP = 512
"""Side of the picture in which the texels of a mask are tested, px: about that of the texture's crop."""

SWEEPS = 10
"""Of the fill per level. Error on hidden skin of synthetic faces, and ms at 256 texels on one thread:

    ours, 10 or 40 sweeps         0.037, 0.036    51, 152
    scipy's direct solve          0.036           66
    OpenCV, Navier-Stokes, 8 bit  0.043           18
    OpenCV, Telea, 8 bit          0.056           19
    scikit-image, biharmonic      0.040 to 0.068  117 to 176; it runs into colours that no skin has
    nearest                       0.045           3
"""

REACH = 1 / 16
"""How far the valid mask goes on outside the chart, share of the map: what a vertex at the chart's
border, looked up in a map of 64, can reach."""


@dataclass(frozen=True)
class OwnMaps:
    """`MapConvention` of one topology; its rasters and operators are made once, by `of`."""

    chart: UvRaster
    """Of S x S texels."""
    operator: DeformationOperator
    """Samples the deformation map of D x D texels at the vertices."""
    rasterizer: Rasterizer

    @staticmethod
    def of(
        model: FaceModel,
        size: int = 256,
        deformation: int = 64,
        chart: UvRaster | None = None,
        rasterizer: Rasterizer | None = None,
    ) -> OwnMaps:
        """For a model, on its device. chart: its raster of `size` texels where somebody has it already.

        Raises ValueError when `chart` has another size.
        """
        if chart is None:
            chart = uv_raster(model.uv, model.uv_faces, model.faces, size, size)
        check_shape("chart", chart.triangle, (size, size), "rasterise it for the maps' own size")
        n_vertices = int(model.faces.max()) + 1
        operator = deformation_operator(
            model.faces, model.uv, model.uv_faces, n_vertices, deformation
        )
        return OwnMaps(chart, operator, rasterizer or renderer("auto", model.uv.device))

    def view(self, posed: Float[Tensor, "N 3"], side: int = CROP) -> TexelView:
        """The texels of a posed mesh (decimetres) in a crop of `side` px."""
        return texel_view(posed, self.chart, self.rasterizer, side)

    def position_map(self, shape: Float[Tensor, "N 3"]) -> Float[Tensor, "3 S S"]:
        """Position map of the unposed shape, decimetres, 0 outside the chart; differentiable."""
        return uv_interpolate(shape, self.chart).movedim(-1, 0)

    def texture(
        self, image: Float[Tensor, "3 H H"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "3 S S"]:
        """The crop, sRGB 0..1, as a texture: bilinear where seen, harmonic between that elsewhere.

        The fill runs over the whole square, so that convolutions meet no border; along the chart only, it
        erred as much (within 0.3 %). No gradient. Grey 0 everywhere when nothing is seen.
        """
        view = self.view(posed, image.shape[-1])
        with torch.no_grad():
            sampled = view.sample(image.movedim(0, -1), self.rasterizer)
            filled = fill(sampled, view.seen, torch.ones_like(view.seen), sweeps=SWEEPS)
        return filled.movedim(-1, 0)

    def valid_mask(
        self, mask: Float[Tensor, "h h"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "S S"]:
        """`TexelView.weight` times the face mask at the texel, 0..1.

        It rises from 0 at hidden texels over 1/64 of the map, and with the cosine of the view from 0.1 to
        0.3. Outside the chart the nearest texel's value goes on for 1/16 of the map, then 0: a map that is
        multiplied with it and looked up at a vertex of the chart's border is not diluted.
        """
        view = self.view(posed)
        face = view.sample(mask[..., None], self.rasterizer)[..., 0].clamp(0.0, 1.0)
        valid = (view.weight * face)[..., None]
        return dilate(valid, self.chart.mask, round(REACH * len(valid)))[..., 0]

    def vertex_offsets(self, deformation: Float[Tensor, "3 D D"]) -> Float[Tensor, "N 3"]:
        """Offset of every vertex, decimetres, bilinear between texel centres; differentiable."""
        return self.operator(deformation.movedim(0, -1))

    def deformation(self, deformation: Float[Tensor, "3 D D"]) -> Float[Tensor, "D D 3"]:
        """mm in the head frame, whose axes are theirs; the same texels."""
        return MM_PER_UNIT * deformation.movedim(0, -1)

    def displacement(
        self, displacement: Float[Tensor, "1 S S"], posed: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "S S"]:
        """mm outwards along the normal, as `render/detail.py` shades it; the same texels and sign."""
        return MM_PER_UNIT * displacement[0]
