"""From the unknowns to what a result holds: cameras with their corrections, and the maps in UV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from hrnfit.camera import Camera
from hrnfit.fit.result import Maps
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.deformation import DeformationOperator
from hrnfit.model.face_model import FaceModel
from hrnfit.prediction import resized_map
from hrnfit.render.detail import detail_normals
from hrnfit.render.shade import safe_normalize
from hrnfit.render.texture import uv_interpolate, uv_raster
from hrnfit.state import FaceState


def refined_cameras(cameras: Sequence[Camera], state: FaceState) -> tuple[Camera, ...]:
    """Cameras of the photographs with the fitted correction and focal length, original pixels."""
    refined: list[Camera] = []
    for v, camera in enumerate(cameras):
        K = camera.K.clone()
        K[:, :2] *= float(state.log_focal[v].exp())
        tangent = state.camera[v].detach().to(camera.T_cam_world)
        refined.append(replace(camera, K=K, T_cam_world=pose_matrix(tangent, camera.T_cam_world)))
    return tuple(refined)


def collect_maps(
    model: FaceModel,
    state: FaceState,
    operator: DeformationOperator,
    displacement: Float[Tensor, "H W"],
    confidence: Float[Tensor, "H W"],
    frame: int = 0,
) -> Maps:
    """All maps of a result on the CPU. `displacement` and `confidence` are those of all views, fused;
    the normals are those of the exported frame's expression."""
    albedo = resized_map(model.albedo(state.albedo), state.albedo_map.shape[0]) + state.albedo_map
    normal = fine_normal_map(model, state, operator, displacement, frame)
    parts = (state.deformation, displacement, state.displacement, confidence, albedo, normal)
    deformation, fused, views, trust, colour, normals = (p.detach().cpu().float() for p in parts)
    return Maps(deformation, fused, views, trust, colour.clamp(0.0, 1.0), normals)


def fine_normal_map(
    model: FaceModel,
    state: FaceState,
    operator: DeformationOperator,
    displacement: Float[Tensor, "H W"],
    frame: int = 0,
    size: int | None = None,
) -> Float[Tensor, "S S 3"]:
    """Unit normals of the displaced surface per texel, head frame; straight ahead off the chart.

    `size`: texels per side; by default those of the displacement map, at least 512, since the model's
    own relief (lids, lips) is finer than a coarse displacement map.
    """
    size = size or max(512, displacement.shape[0])
    shape = model.shape(state.identity[None], state.expression[frame : frame + 1])[0]
    mid = (shape + operator(state.deformation)).detach()
    chart = uv_raster(model.uv, model.uv_faces, model.faces, size, size)
    positions = uv_interpolate(mid, chart)
    smooth = safe_normalize(uv_interpolate(vertex_normals(mid, model.faces), chart))
    heights = displacement.detach().to(mid)[None, None]
    if displacement.shape[0] != size:
        heights = interpolate(heights, size=(size, size), mode="bicubic", align_corners=False)
    normals = detail_normals(positions, smooth, heights[0, 0], chart.mask)
    ahead = normals.new_tensor([0.0, 0.0, 1.0])
    return torch.where(chart.mask[..., None], normals, ahead)
