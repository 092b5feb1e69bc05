"""A fit stated anew in another model: coefficients, poses, deformation map, maps in the other chart.

Cameras, photographs, light and what shares what stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hrnfit.fit.head_frame import T_world_head
from hrnfit.fit.levels import level_meshes
from hrnfit.fit.result import FitResult, Maps, MeshLevel
from hrnfit.model.deformation import deformation_operator
from hrnfit.model.face_model import FaceModel
from hrnfit.render.detail import detail_normals
from hrnfit.render.shade import safe_normalize
from hrnfit.render.texture import resized_map, uv_interpolate, uv_raster
from hrnfit.state import FaceState
from hrnfit.transfer.charts import ChartTransfer
from hrnfit.transfer.refit import Refit, residual_map

SMALLEST_MAP = 192
"""Texels per side of the deformation map at least. Normals of the mid surface were then off by 0.4 degrees
in the mean (ICT to the embedded model; 1.1 there and back), with 128 by 1.1 (2.3), with 64 by 2.9 (5.1)."""

COARSE = 64
"""Texels per side at which albedo coefficients are sought."""

RIDGE = 1e-4
"""Price of a squared standard deviation of albedo, in squared linear colour."""


def restated(
    fitted: FitResult,
    model: FaceModel,
    explained: Refit,
    carried: Float[Tensor, "T N 3"],
    valid: Bool[Tensor, "N"],
    chart_of: Callable[[int], ChartTransfer],
    provenance: Mapping[str, Any],
) -> FitResult:
    """The fit with `model`. carried: its mid surface per frame, head frame of the source. valid: vertices
    with a partner. chart_of: the transfer of maps of a size."""
    size = max(fitted.state.deformation.shape[0], SMALLEST_MAP)
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, len(valid), size)
    deformation = residual_map(explained, carried, operator, valid)
    detail = chart_of(fitted.maps.displacement.shape[0])
    planes = torch.cat([fitted.maps.displacement[None], fitted.state.displacement])
    heights = detail(planes.movedim(0, -1)).movedim(-1, 0).contiguous()
    albedo = (chart := chart_of(fitted.state.albedo_map.shape[0]))(fitted.maps.albedo)
    T = T_world_head(fitted.state) @ explained.T_source_target
    state = _state(fitted.state, model, explained, T, deformation, heights[1:], albedo, chart)
    meshes = level_meshes(model, state, operator, heights[0])
    maps = Maps(
        deformation=deformation,
        displacement=heights[0],
        displacement_views=state.displacement,
        confidence=detail(fitted.maps.confidence[..., None], smooth=False)[..., 0],
        albedo=albedo,
        normal=_normals(meshes["mid"][fitted.frame], heights[0], T[fitted.frame]),
    )
    return replace(
        fitted,
        state=state,
        meshes=meshes,
        maps=maps,
        stages=(),
        view_residuals={},
        warnings=(),
        provenance=dict(provenance),
        model=model,
    )


def _state(
    old: FaceState,
    model: FaceModel,
    explained: Refit,
    T_world_target: Float[Tensor, "T 4 4"],
    deformation: Float[Tensor, "D D 3"],
    displacement: Float[Tensor, "K H W"],
    albedo: Float[Tensor, "R R 3"],
    chart: ChartTransfer,
) -> FaceState:
    """The unknowns of the target's model; poses become the reference of a zero tangent."""
    coefficients, offset = albedo_leaves(model, albedo, chart)
    return old.replace(
        identity=explained.identity,
        expression=explained.expression,
        albedo=coefficients,
        pose=torch.zeros_like(old.pose),
        pose_reference=T_world_target.to(old.pose_reference),
        deformation=deformation,
        displacement=displacement,
        albedo_map=offset,
    )


def albedo_leaves(
    model: FaceModel, albedo: Float[Tensor, "S S 3"], chart: ChartTransfer
) -> tuple[Float[Tensor, "A"], Float[Tensor, "S S 3"]]:
    """Coefficients of the model's albedo nearest to a map where it is known, and what is then missing."""
    zero = torch.zeros(model.n_albedo)
    coefficients = zero
    if model.n_albedo:
        seen = resized_map(chart.known[..., None].float().expand(-1, -1, 3), COARSE)[..., 0] > 0.99
        mean = resized_map(model.albedo(zero), COARSE)
        modes = [resized_map(model.albedo(row), COARSE) - mean for row in torch.eye(model.n_albedo)]
        design = torch.stack([mode[seen].flatten() for mode in modes]).double()
        target = (resized_map(albedo, COARSE) - mean)[seen].flatten().double()
        count = max(len(target), 1)
        system = design @ design.mT / count + RIDGE * torch.eye(len(design), dtype=torch.float64)
        coefficients = torch.linalg.solve(system, design @ target / count).float()
    own = resized_map(model.albedo(coefficients), len(albedo))
    return coefficients, torch.where(chart.raster.mask[..., None], albedo - own, 0.0)


def _normals(
    mid: MeshLevel, displacement: Float[Tensor, "H W"], pose: Float[Tensor, "4 4"]
) -> Float[Tensor, "H W 3"]:
    """Normals of the displaced surface in the target's head frame."""
    raster = uv_raster(mid.uv, mid.uv_faces, mid.faces, *displacement.shape)
    normals = safe_normalize(uv_interpolate(mid.normals, raster))
    positions = uv_interpolate(mid.vertices, raster)
    return detail_normals(positions, normals, displacement, raster.mask) @ pose[:3, :3].float()
