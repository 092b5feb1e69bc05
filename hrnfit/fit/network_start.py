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

from hrnfit.fit.choose_networks import Choice
from hrnfit.fit.prepare import Prepared
from hrnfit.fit.scene import Scene
from hrnfit.fit.strayed import SIZE, landmark_errors, lost_views, shares
from hrnfit.geometry.rotation import pose_matrix, rigid_inverse
from hrnfit.importers.turned_light import turned_light
from hrnfit.infer.crop_pose import pose_from_crop
from hrnfit.infer.fused_maps import merge_maps
from hrnfit.infer.joint_pose import PosedView, joint_pose
from hrnfit.infer.networks import MAP_SIZE, Networks, check_networks, convention_of, own_maps
from hrnfit.infer.single_view import Predictor, ViewPrediction
from hrnfit.nets.hrn import resized
from hrnfit.render.texture import resized_map
from hrnfit.state import FaceState

log = logging.getLogger(__name__)

WORSE = 3.0
"""Times the landmark start's landmark error from which on a network's start is doubted: over-fitted networks
had 0.9 to 1.2, heads of random weights 5 and more."""
DOUBTFUL, PLAIN = 0.03, 0.08
"""Shares of the landmarks' extent from which on such a start is warned of, and dropped."""

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
    gone |= worse_views(scene, state, scene.framed(merged), merged, PLAIN)
    if gone:
        warnings.append(
            f"the networks' start was dropped: the face left its landmarks in {', '.join(sorted(gone))}; do "
            f"the weights {networks.name!r} belong to model {scene.model.info.name!r}?"
        )
        return NetworkStart(state, None, False, tuple(warnings))
    doubted = worse_views(scene, state, scene.framed(merged), merged, DOUBTFUL)
    if doubted:
        told.append(
            f"the start by {networks.name!r} lies {WORSE:g} times as far from the landmarks as theirs in "
            f"{', '.join(sorted(doubted))}; compare with --set initialize=landmarks"
        )
    albedo = deretouched_albedo(scene, merged, predictions)
    if albedo is not None:
        merged = with_albedo_map(scene, merged, albedo)
    return NetworkStart(merged, albedo, True, (*warnings, *told))


def worse_views(
    before_scene: Scene, before: FaceState, after_scene: Scene, after: FaceState, least: float
) -> set[str]:
    """Views whose landmarks lie `WORSE` times as far from the face as before, and by over `least` of their extent."""

    def found(scene: Scene, state: FaceState) -> dict[str, float]:
        return shares(scene, landmark_errors(scene, scene.predict(state, SIZE)))

    old, new = found(before_scene, before), found(after_scene, after)
    return {name for name, share in new.items() if not share <= max(least, WORSE * old[name])}


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
    share = _shares(predictions)
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

    Where one view's own shape is the merged one: the pose of which the analyzer reports just this. Else the one
    pose per frame at which the merged shape lies where each view's own shape does. A frame in which that fails
    keeps the pose that came in.
    """
    reference, pose, warnings = state.pose_reference.clone(), state.pose.clone(), []
    for frame in range(len(reference)):
        own = [v for v in predictions if int(scene.sharing.frame[v]) == frame]
        if not own:
            continue
        try:
            posed = [posed_view(scene, state, v, predictions[v]) for v in own]
            shape = scene.model.shape(state.identity, state.expression[frame]).cpu()
            own_shape = len(posed) == 1 and torch.equal(shape, posed[0].shape)
            faces = scene.model.faces.cpu()
            T = world_pose(posed[0]) if own_shape else joint_pose(shape, faces, posed)
        except ValueError as error:
            warnings.append(f"the head pose of frame {frame} is that of the landmarks: {error}")
            log.warning(warnings[-1])
            continue
        reference[frame], pose[frame] = T.to(reference), 0.0
    return state.replace(pose_reference=reference, pose=pose), warnings


def posed_view(scene: Scene, state: FaceState, v: int, prediction: ViewPrediction) -> PosedView:
    """What the analyzer says of a view, in the view's own camera as the state corrects it.

    On the CPU: a few small solves in float64, which a GPU would do one launch at a time.
    """
    view, faces = scene.views[v], scene.model.faces.cpu()
    camera = scene.camera(state, v)
    shape = scene.model.shape(prediction.identity, prediction.expression).cpu()
    reported = prediction.T_analyzer_head.cpu()
    T_cam_head = pose_from_crop(shape, faces, reported, camera, prediction.crop, view.name)
    return PosedView(shape, T_cam_head, camera, view.name)


def world_pose(view: PosedView) -> Float[Tensor, "4 4"]:
    """T_world_head of one view alone."""
    return rigid_inverse(view.camera.T_cam_world.to(view.T_cam_head)) @ view.T_cam_head


def with_light(scene: Scene, state: FaceState, predictions: Predictions) -> FaceState:
    """Light in the world: each view's, turned with the head, and the mean of the views that share one."""
    share = _shares(predictions)
    R_world_head = pose_matrix(state.pose, state.pose_reference)[:, :3, :3]
    light = state.light.clone()
    for row in range(len(light)):
        turned = {
            v: turned_light(p.light_head, R_world_head[int(scene.sharing.frame[v])])
            for v, p in predictions.items()
            if int(scene.sharing.light[v]) == row
        }
        if turned:
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
            v: p.displacement[..., None]
            for v, p in predictions.items()
            if p.displacement is not None and int(scene.sharing.displacement[v]) == row
        }
        if own:
            rows[row] = resized_map(_merged(own, predictions), rows.shape[-1])[..., 0]
    return state.replace(displacement=rows)


def deretouched_albedo(
    scene: Scene, state: FaceState, predictions: Predictions
) -> Float[Tensor, "S S 3"] | None:
    """De-retouched albedo of all views, linear RGB; None without its network.

    Merged as a difference from the model's albedo, which is what is left where no view sees.
    """
    found = {v: p.deretouched for v, p in predictions.items() if p.deretouched is not None}
    if not found:
        return None
    own = resized_map(scene.model.albedo(state.albedo), next(iter(found.values())).shape[0])
    return own + _merged({v: albedo - own for v, albedo in found.items()}, predictions)


def with_albedo_map(scene: Scene, state: FaceState, albedo: Float[Tensor, "S S 3"]) -> FaceState:
    """The state whose albedo in UV, linear RGB, is this one."""
    size = state.albedo_map.shape[0]
    own = resized_map(scene.model.albedo(state.albedo), size)
    return state.replace(albedo_map=resized_map(albedo, size) - own)


def _merged(maps: Mapping[int, Tensor], predictions: Predictions) -> Float[Tensor, "H H C"]:
    """Offset maps of several views as one, by what each view sees; 0 far from what any sees.

    Weights are shrunk as the masks of the generators are: nothing is said where a mask was 0.
    """
    stacked = torch.stack(list(maps.values()))
    weights = torch.stack([predictions[v].weight for v in maps])
    weights = resized(weights[:, None], stacked.shape[1])[:, 0]
    return merge_maps(stacked, weights.clamp_min(0.0)).values


def _shares(predictions: Predictions) -> dict[int, float]:
    """Weight of each view's word, by how much of the face it shows."""
    return {v: float(p.weight.mean()) + 1e-6 for v, p in predictions.items()}


def _mean(values: Mapping[int, Tensor], share: Mapping[int, float]) -> Tensor:
    """Weighted mean over views."""
    total = sum(share[v] for v in values)
    weighted = [value * (share[v] / total) for v, value in values.items()]
    return torch.stack(weighted).sum(0)
