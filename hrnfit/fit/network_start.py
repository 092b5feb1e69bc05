"""The start of a fit by networks: each photograph alone, then one subject of all (HRN sec. 3.1-3.5).

Coefficients and maps of several photographs become means weighted by what each view sees, so that a view has
no say where it sees nothing. Poses are solved for the photographs' own cameras. What the networks cannot say,
focal lengths and views without a face, stays as the landmark start has it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.fit.choose_networks import Choice
from hrnfit.fit.prepare import Prepared
from hrnfit.fit.scene import Scene
from hrnfit.fit.strayed import lost_views
from hrnfit.geometry.rotation import pose_matrix, rigid_inverse
from hrnfit.importers.turned_light import turned_light
from hrnfit.infer.crop_pose import pose_from_crop
from hrnfit.infer.fused_maps import merge_maps
from hrnfit.infer.joint_pose import PosedView, joint_pose
from hrnfit.infer.networks import MAP_SIZE, Networks, check_networks, convention_of, own_maps
from hrnfit.infer.single_view import Predictor, ViewPrediction
from hrnfit.render.texture import resized_map
from hrnfit.state import FaceState

log = logging.getLogger(__name__)

Predictions = Mapping[int, ViewPrediction]
"""By the index of the view."""


@dataclass(frozen=True)
class NetworkStart:
    """Where the networks put the subject."""

    state: FaceState
    deretouched: Float[Tensor, "S S 3"] | None
    """De-retouched albedo of all views, linear RGB; None without its network."""
    used: bool
    """False when no photograph could be predicted: the state is then the one that came in."""
    warnings: tuple[str, ...]


def begun_with_networks(begun: Prepared, choice: Choice) -> Prepared:
    """Where the stages begin, with the networks' start in place of the landmarks' if there is one."""
    if choice.networks is None:
        told = (choice.why,) if choice.warning else ()
        started = {"by": choice.instead, "why": choice.why}
        return replace(begun, started=started, warnings=(*begun.warnings, *told))
    found = network_start(begun.scene, begun.state, choice.networks)
    warnings = (*begun.warnings, *found.warnings)
    if not found.used:
        started = {"by": "landmarks", "why": found.warnings[-1]}
        return replace(begun, started=started, warnings=warnings)
    scene = replace(begun.scene, deretouched=found.deretouched).framed(found.state)
    started = {"by": "networks", "networks": choice.networks.name}
    return replace(begun, scene=scene, state=found.state, started=started, warnings=warnings)


@torch.no_grad()
def network_start(scene: Scene, state: FaceState, networks: Networks) -> NetworkStart:
    """The state with all that the networks say; `state` is that of the landmark start.

    A photograph that the networks cannot take is named in the warnings and has no say. Raises ValueError
    when they belong to another model.
    """
    check_networks(networks, scene.model)
    predictions, warnings = predict_views(scene, networks)
    if not predictions:
        warnings.append(
            "no photograph could go through the networks: the fit starts from landmarks"
        )
        return NetworkStart(state, None, False, tuple(warnings))
    merged = with_coefficients(scene, state, predictions)
    merged, told = with_poses(scene, merged, predictions)
    if len(told) == len({int(scene.sharing.frame[v]) for v in predictions}):
        warnings += [*told, f"the start by {networks.name!r} was dropped: it places no head"]
        return NetworkStart(state, None, False, tuple(warnings))
    merged = with_light(scene, merged, predictions)
    merged = with_maps(scene, merged, predictions)
    gone = lost_views(scene.framed(merged), merged) - lost_views(scene, state)
    if gone:
        warnings.append(
            f"the networks' start was dropped: the face left its landmarks in {', '.join(sorted(gone))}; do "
            f"the weights {networks.name!r} belong to model {scene.model.info.name!r}?"
        )
        return NetworkStart(state, None, False, tuple(warnings))
    retouched = {v: p.deretouched for v, p in predictions.items() if p.deretouched is not None}
    albedo = _merged(retouched, predictions) if retouched else None
    return NetworkStart(merged, albedo, True, (*warnings, *told))


def predict_views(scene: Scene, networks: Networks) -> tuple[dict[int, ViewPrediction], list[str]]:
    """What the networks say of every photograph with landmarks, and why some were left out."""
    networks = networks.to(scene.device)
    predictor = Predictor(
        networks,
        scene.model,
        convention_of(networks, scene.model, scene.rasterizer, scene.chart),
        own_maps(scene.model, scene.rasterizer, scene.chart(MAP_SIZE)),
    )
    found: dict[int, ViewPrediction] = {}
    warnings = []
    for v, view in enumerate(scene.views):
        if view.landmarks is None:
            continue
        try:
            found[v] = predictor.predict(view)
        except ValueError as error:
            warnings.append(f"the networks leave out view {view.name!r}: {error}")
            log.warning(warnings[-1])
    return found, warnings


def with_coefficients(scene: Scene, state: FaceState, predictions: Predictions) -> FaceState:
    """Identity and albedo of all views, expression of each frame's, weighted by how much a view sees."""
    share = {v: float(p.weight.mean()) + 1e-6 for v, p in predictions.items()}
    expression = state.expression.clone()
    for frame in range(len(expression)):
        own = [v for v in predictions if int(scene.sharing.frame[v]) == frame]
        if own:
            expression[frame] = _mean({v: predictions[v].expression for v in own}, share)
    if scene.model.expression_is_blendshape:
        expression = expression.clamp(0.0, 1.0)
    return state.replace(
        identity=_mean({v: p.identity for v, p in predictions.items()}, share),
        albedo=_mean({v: p.albedo for v, p in predictions.items()}, share),
        expression=expression,
    )


def with_poses(
    scene: Scene, state: FaceState, predictions: Predictions
) -> tuple[FaceState, list[str]]:
    """Head pose of every frame in the world of the cameras.

    One photograph of a subject: the pose of which the analyzer reports just this. Several: the one pose per
    frame at which the merged shape lies where each view's own shape does. A frame in which that fails keeps the
    landmark start's.
    """
    reference, warnings = state.pose_reference.clone(), []
    for frame in range(len(reference)):
        own = [v for v in predictions if int(scene.sharing.frame[v]) == frame]
        if not own:
            continue
        try:
            posed = [posed_view(scene, state, v, predictions[v]) for v in own]
            shape = scene.model.shape(state.identity, state.expression[frame])
            alone = len(scene.views) == 1
            faces = scene.model.faces.cpu()
            T = world_pose(posed[0]) if alone else joint_pose(shape.cpu(), faces, posed)
        except ValueError as error:
            warnings.append(f"the head pose of frame {frame} is that of the landmarks: {error}")
            log.warning(warnings[-1])
            continue
        reference[frame] = T.to(reference)
    return state.replace(pose_reference=reference, pose=torch.zeros_like(state.pose)), warnings


def posed_view(scene: Scene, state: FaceState, v: int, prediction: ViewPrediction) -> PosedView:
    """What the analyzer says of a view, in the view's own camera as the state corrects it.

    On the CPU: a few small solves in float64, which a GPU would do one launch at a time.
    """
    view, faces = scene.views[v], scene.model.faces.cpu()
    camera = corrected_camera(view.camera, state, v)
    shape = scene.model.shape(prediction.identity, prediction.expression).cpu()
    reported = prediction.T_analyzer_head.cpu()
    T_cam_head = pose_from_crop(shape, faces, reported, camera, prediction.crop, view.name)
    return PosedView(shape, T_cam_head, camera, view.name)


def world_pose(view: PosedView) -> Float[Tensor, "4 4"]:
    """T_world_head of one view alone."""
    return rigid_inverse(view.camera.T_cam_world.to(view.T_cam_head)) @ view.T_cam_head


def corrected_camera(camera: Camera, state: FaceState, v: int) -> Camera:
    """A view's camera with its focal factor and correction applied."""
    K = camera.K.clone()
    K[:, :2] *= float(state.log_focal[v].exp())
    T = pose_matrix(state.camera[v].cpu().double(), camera.T_cam_world.double())
    return replace(camera, K=K, T_cam_world=T.to(camera.T_cam_world))


def with_light(scene: Scene, state: FaceState, predictions: Predictions) -> FaceState:
    """Light in the world: each view's, turned with the head, and the mean of the views that share one."""
    share = {v: float(p.weight.mean()) + 1e-6 for v, p in predictions.items()}
    light = state.light.clone()
    for row in range(len(light)):
        own = [v for v in predictions if int(scene.sharing.light[v]) == row]
        turned = {
            v: turned_light(
                predictions[v].light_head,
                state.pose_reference[int(scene.sharing.frame[v]), :3, :3],
            )
            for v in own
        }
        if own:
            light[row] = _mean(turned, share)
    return state.replace(light=light)


def with_maps(scene: Scene, state: FaceState, predictions: Predictions) -> FaceState:
    """The shared deformation map, and displacement maps as the recipe shares them."""
    deformation = {v: p.deformation for v, p in predictions.items() if p.deformation is not None}
    if deformation:
        merged = _merged(deformation, predictions)
        state = state.replace(deformation=resized_map(merged, state.deformation.shape[0]))
    rows = state.displacement.clone()
    for row in range(len(rows)):
        own = {
            v: p.displacement[..., None].expand(-1, -1, 3)
            for v, p in predictions.items()
            if p.displacement is not None and int(scene.sharing.displacement[v]) == row
        }
        if own:
            rows[row] = resized_map(_merged(own, predictions), rows.shape[-1])[..., 0]
    return state.replace(displacement=rows)


def _merged(maps: Mapping[int, Tensor], predictions: Predictions) -> Float[Tensor, "H H 3"]:
    """Maps of several views as one, by what each view sees."""
    stacked = torch.stack(list(maps.values()))
    size = stacked.shape[1]
    weights = torch.stack(
        [
            resized_map(predictions[v].weight[..., None].expand(-1, -1, 3), size)[..., 0]
            for v in maps
        ]
    )
    return merge_maps(stacked, weights.clamp_min(0.0)).values


def _mean(values: Mapping[int, Tensor], share: Mapping[int, float]) -> Tensor:
    """Weighted mean over views."""
    total = sum(share[v] for v in values)
    weighted = [value * (share[v] / total) for v, value in values.items()]
    return torch.stack(weighted).sum(0)
