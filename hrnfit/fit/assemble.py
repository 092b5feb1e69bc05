"""The result of a fit from its last state: cameras, meshes, fused maps, residuals per view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.energy.photometric import gamma_encoded
from hrnfit.fit.appearance import look_linear
from hrnfit.fit.fuse import fuse
from hrnfit.fit.head_frame import T_world_head
from hrnfit.fit.levels import level_meshes
from hrnfit.fit.photographs import photograph_from_image
from hrnfit.fit.result import FitResult, Maps, StageReport
from hrnfit.fit.scene import Scene
from hrnfit.fit.strayed import STRAYED, landmark_errors, landmark_extent, shares
from hrnfit.render.detail import detail_normals
from hrnfit.render.shade import safe_normalize
from hrnfit.render.texture import uv_interpolate, uv_raster
from hrnfit.state import FaceState

RESIDUAL_SIZE = 256
"""Window in which residuals per view are measured, px."""


def assemble(
    scene: Scene,
    state: FaceState,
    stages: tuple[StageReport, ...],
    seconds: float,
    warnings: tuple[str, ...],
    provenance: Mapping[str, Any],
) -> FitResult:
    """Everything the user gets, on the CPU, detached."""
    residuals = view_residuals(scene, state)
    fused, confidence = fused_displacement(scene, state)
    albedo = scene.predict(state, 64).albedo_map.clamp(0.0, 1.0).cpu()
    normal = normal_map(scene, state, fused)
    model, state = scene.model.to("cpu"), state.to("cpu")
    cpu = replace(scene, model=model)
    operator = cpu.operator(state.deformation.shape[0])
    maps = Maps(
        deformation=state.deformation,
        displacement=fused,
        displacement_views=state.displacement,
        confidence=confidence,
        albedo=albedo,
        normal=normal,
    )
    return FitResult(
        state=state,
        sharing=scene.sharing,
        cameras=fitted_cameras(scene, state),
        view_names=tuple(view.name for view in scene.views),
        meshes=level_meshes(model, state, operator, fused),
        maps=maps,
        stages=stages,
        view_residuals=residuals,
        seconds=seconds,
        warnings=(*warnings, *strayed(scene, residuals)),
        provenance=provenance,
        camera_known=tuple(view.camera_known for view in scene.views),
        photographs=tuple(photograph_from_image(view.image) for view in scene.views),
        observed=tuple(view.landmarks for view in scene.views),
        model=model,
    )


def strayed(scene: Scene, residuals: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    """Warnings of views in which the face lies far from its landmarks."""
    errors = {name: own.get("landmark") for name, own in residuals.items()}
    return tuple(
        f"view {view.name!r}: the face ended {errors[view.name]:.0f} px from its landmarks, which span "
        f"{landmark_extent(view):.0f} px; look at its overlay, and leave the view out if it shows another face "
        "or its landmarks are wrong"
        for view in scene.views
        if shares(scene, errors).get(view.name, 0.0) > STRAYED
    )


def fitted_cameras(scene: Scene, state: FaceState) -> tuple[Camera, ...]:
    """Cameras of the views in original pixels, with focal factor and correction applied."""
    return tuple(scene.camera(state, v) for v in range(len(scene.views)))


def fused_displacement(
    scene: Scene, state: FaceState
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """One map of all views, and how well they saw each texel."""
    size = state.displacement.shape[-1]
    texels = scene.texels(size)
    seen, _ = look_linear(scene, state, 512, size)
    weights = torch.stack([texels.square(w) for w in seen.weight.float()]).cpu()
    used = texels.square(torch.ones_like(texels.flat, dtype=torch.bool)).cpu()
    maps = state.displacement[scene.sharing.displacement].cpu()
    fused = fuse(maps, weights, used)
    return fused.displacement, fused.confidence


def normal_map(
    scene: Scene, state: FaceState, displacement: Float[Tensor, "H W"]
) -> Float[Tensor, "H W 3"]:
    """Head-frame normals of the fine surface in UV, at the first view's frame."""
    size, model = displacement.shape[0], scene.model
    raster = uv_raster(model.uv.cpu(), model.uv_faces.cpu(), model.faces.cpu(), size, size)
    prediction = scene.predict(state, 64)
    frame = int(scene.sharing.frame[0])
    pose = T_world_head(state)[frame].to(prediction.vertices_world)
    normals = safe_normalize(uv_interpolate(prediction.normals_world[frame].cpu(), raster))
    positions = uv_interpolate(prediction.vertices_world[frame].cpu(), raster)
    detail = detail_normals(positions, normals, displacement, raster.mask)
    return detail @ pose[:3, :3].cpu()


def view_residuals(scene: Scene, state: FaceState) -> dict[str, dict[str, float]]:
    """Per view: root mean square landmark error in original px, and the mean photometric error in
    gamma space over what it sees."""
    prediction = scene.predict(state, RESIDUAL_SIZE)
    windows = prediction.views
    difference = (gamma_encoded(prediction.image) - gamma_encoded(windows.images)).abs().mean(-1)
    counted = (prediction.raster.triangle >= 0) * windows.masks
    out: dict[str, dict[str, float]] = {}
    landmarks = landmark_errors(scene, prediction)
    for v, view in enumerate(scene.views):
        own = {
            "photometric": float((difference[v] * counted[v]).sum() / counted[v].sum().clamp_min(1))
        }
        if view.name in landmarks:
            own["landmark"] = landmarks[view.name]
        out[view.name] = own
    return out
