"""The released maps of a model: its chart's raster and our two least-squares fits, for `nets/released.py`."""

from __future__ import annotations

from hrnfit.check import check_shape
from hrnfit.model.deformation import deformation_operator
from hrnfit.model.face_model import FaceModel
from hrnfit.nets.released import Released
from hrnfit.render.normal_integration import displacement_from_normals
from hrnfit.render.texture import UvRaster, uv_raster


def released_maps(
    model: FaceModel, size: int = 256, deformation: int = 64, chart: UvRaster | None = None
) -> Released:
    """`Released` for a model, on its device; made once per topology.

    size, deformation: texels per side, those of the released weights. chart: the raster of `size` texels
    where somebody has it already. Raises ValueError when the chart has seams or mirrored parts.
    """
    if chart is None:
        chart = uv_raster(model.uv, model.uv_faces, model.faces, size, size)
    check_shape("chart", chart.triangle, (size, size), "rasterise it for the maps' own size")
    n_vertices = int(model.faces.max()) + 1
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, n_vertices, deformation)
    return Released.of(
        chart.triangle,
        chart.barycentric,
        model.faces,
        model.uv,
        model.uv_faces,
        operator.fit_map,
        displacement_from_normals,
    )
