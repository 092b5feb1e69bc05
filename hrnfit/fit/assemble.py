"""The result of a fit from its last state: cameras, meshes, fused maps, residuals per view."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.energy.photometric import gamma_encoded
from hrnfit.fit.appearance import look_linear
from hrnfit.fit.fuse import fuse
from hrnfit.fit.levels import level_meshes
from hrnfit.fit.model_constants import model_on
from hrnfit.fit.photographs import started_photograph
from hrnfit.fit.result import FitResult, Maps, StageReport
from hrnfit.fit.scene import Scene
from hrnfit.fit.strayed import STRAYED, landmark_errors, landmark_extent, shares
from hrnfit.fit.to_host import brought
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.render.detail import detail_normals
from hrnfit.render.shade import safe_normalize
from hrnfit.render.texture import uv_interpolate
from hrnfit.solve.recorded import replayed
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
    pictures = [started_photograph(view.image) for view in scene.views]
    fused, confidence = fused_displacement(scene, state)
    albedo = scene.predict(state, 64).albedo_map.clamp(0.0, 1.0)
    normal = normal_map(scene, state, fused)
    operator = scene.operator(state.deformation.shape[0])
    meshes = level_meshes(scene.model, state, operator, fused)
    residuals = view_residuals(scene, state)
    state, maps = _on_host(state, fused, confidence, albedo, normal)
    return FitResult(
        state=state,
        sharing=scene.sharing,
        cameras=fitted_cameras(scene, state),
        view_names=tuple(view.name for view in scene.views),
        meshes=meshes,
        maps=maps,
        stages=stages,
        view_residuals=residuals,
        seconds=seconds,
        warnings=(*warnings, *strayed(scene, residuals)),
        provenance=provenance,
        camera_known=tuple(view.camera_known for view in scene.views),
        photographs=tuple(picture.result() for picture in pictures),
        observed=tuple(view.landmarks for view in scene.views),
        model=model_on(scene.model, torch.device("cpu")),
    )


def _on_host(
    state: FaceState, fused: Tensor, confidence: Tensor, albedo: Tensor, normal: Tensor
) -> tuple[FaceState, Maps]:
    """State and maps, brought to the CPU together."""
    state, fused, confidence, albedo, normal = brought((state, fused, confidence, albedo, normal))
    maps = Maps(
        deformation=state.deformation,
        displacement=fused,
        displacement_views=state.displacement,
        confidence=confidence,
        albedo=albedo,
        normal=normal,
    )
    return state, maps


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
    maps = state.displacement[scene.rows.displacement]
    # 40 sweeps of each level are 3,000 launches
    fused = replayed(("fuse", size), partial(_fused, size), (maps, seen.weight, texels.flat))
    return fused[0].clone(), fused[1].clone()


def _fused(
    size: int, maps: Float[Tensor, "V H W"], weight: Float[Tensor, "V P"], flat: Int[Tensor, "P"]
) -> tuple[Tensor, Tensor]:
    """Displacement and confidence from the weights of the texels at `flat`."""
    weights = maps.new_zeros(len(maps), size * size)
    weights[:, flat] = weight.to(maps)
    used = torch.zeros(size * size, dtype=torch.bool, device=maps.device)
    used.index_fill_(0, flat, True)
    fused = fuse(maps, weights.view(-1, size, size), used.view(size, size))
    return fused.displacement, fused.confidence


def normal_map(
    scene: Scene, state: FaceState, displacement: Float[Tensor, "H W"]
) -> Float[Tensor, "H W 3"]:
    """Head-frame normals of the fine surface in UV, at the first view's frame."""
    raster = scene.chart(displacement.shape[0])
    prediction = scene.predict(state, 64)
    frame = int(scene.sharing.frame[0])
    pose = pose_matrix(state.pose.double(), state.pose_reference.double())[frame]
    normals = safe_normalize(uv_interpolate(prediction.normals_world[frame], raster))
    positions = uv_interpolate(prediction.vertices_world[frame], raster)
    detail = detail_normals(positions, normals, displacement, raster.mask)
    return detail @ pose[:3, :3].to(detail)


def view_residuals(scene: Scene, state: FaceState) -> dict[str, dict[str, float]]:
    """Per view: root mean square landmark error in original px, and the mean photometric error in
    gamma space over what it sees."""
    prediction = scene.predict(state, RESIDUAL_SIZE)
    windows = prediction.views
    difference = (gamma_encoded(prediction.image) - gamma_encoded(windows.images)).abs().mean(-1)
    counted = (prediction.raster.triangle >= 0) * windows.masks
    landmarks = landmark_errors(scene, prediction)
    means = [
        (difference[v] * counted[v]).sum() / counted[v].sum().clamp_min(1)
        for v in range(len(scene.views))
    ]
    out: dict[str, dict[str, float]] = {}
    for view, photometric in zip(scene.views, torch.stack(means).tolist(), strict=True):
        own = {"photometric": photometric}
        if view.name in landmarks:
            own["landmark"] = landmarks[view.name]
        out[view.name] = own
    return out
