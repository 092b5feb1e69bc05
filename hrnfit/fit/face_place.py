"""Where a state puts the face: its vertices in the world, boxes around it in the photographs, and how far its
landmarks lie from the found ones. On CUDA each is one recording per model, and one look at the device.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.fit.model_constants import map_operator, once
from hrnfit.fit.surface_points import corners_of
from hrnfit.geometry.kept import kept_with
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.model.deformation import DeformationOperator
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.window_source import WindowSource
from hrnfit.observe.working import boxes_around
from hrnfit.solve.recorded import Function, replayed
from hrnfit.state import FaceState, Sharing


def face_in_world(model: FaceModel, state: FaceState) -> Float[Tensor, "T N 3"]:
    """Mid-level vertices per frame, world mm, float32, on the model's device."""
    return _world(model, map_operator(model, state.deformation.shape[0]), *_shape_leaves(state))


def projected_boxes(
    model: FaceModel,
    state: FaceState,
    sharing: Sharing,
    photographs: WindowSource,
    margin: float,
) -> Float[Tensor, "V 4"]:
    """`face_boxes` around all vertices, undistorted px of each photograph, on the host. Not finite where a
    view sees no vertex."""
    operator = map_operator(model, state.deformation.shape[0])
    function = partial(_boxes, model, operator, margin)
    inputs = _inputs(model, state, sharing, photographs)
    (boxes,) = _replayed(model, ("boxes", margin), function, inputs)
    return boxes.cpu()


def landmark_distances(
    model: FaceModel, state: FaceState, sharing: Sharing, photographs: WindowSource
) -> Float[Tensor, "V"]:
    """Root mean square distance of the model's landmarks from the found ones, px of the undistorted
    photograph, on the host; 0 where a view has none. The model must know their scheme."""
    marks = photographs.marks
    operator = map_operator(model, state.deformation.shape[0])
    corners, weights = _places(model, marks.scheme)
    function = partial(_distances, model, operator, corners, weights)
    inputs = (*_inputs(model, state, sharing, photographs), marks.points, marks.confidence)
    (distances,) = _replayed(model, ("distances", marks.scheme), function, inputs)
    return distances.cpu()


def _replayed(
    model: FaceModel, what: object, function: Function, inputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The function of a state; recorded for linear models, whose `shape` looks at no value."""
    if not model.shape_is_linear:
        return function(*inputs)
    return replayed(("face place", what, id(model)), function, inputs)


def sharing_on(sharing: Sharing, device: torch.device) -> Sharing:
    """The rows on a device, each sent once in its life."""
    if device.type == "cpu":
        return sharing.to(device)
    rows = {
        name: kept_with(row, ("on", device), partial(row.to, device))
        for name, row in vars(sharing).items()
    }
    return Sharing(**rows)


def _shape_leaves(state: FaceState) -> tuple[Tensor, ...]:
    return state.identity, state.expression, state.deformation, state.pose, state.pose_reference


def _inputs(
    model: FaceModel, state: FaceState, sharing: Sharing, photographs: WindowSource
) -> tuple[Tensor, ...]:
    own = (*_shape_leaves(state), state.camera, state.log_focal)
    frame = sharing_on(sharing, model.uv.device).frame
    return (*(leaf.detach() for leaf in own), photographs.K, photographs.T_cam_world, frame)


def _world(
    model: FaceModel,
    operator: DeformationOperator,
    identity: Tensor,
    expression: Tensor,
    deformation: Tensor,
    pose: Tensor,
    reference: Tensor,
) -> Float[Tensor, "T N 3"]:
    head = model.shape(identity[None].expand(len(expression), -1), expression)
    head = head + operator(deformation)
    T = pose_matrix(pose, reference)
    return (head @ T[:, :3, :3].mT + T[:, None, :3, 3]).float()


def _projected(
    x_world: Float[Tensor, "V P 3"],
    camera: Float[Tensor, "V 6"],
    log_focal: Float[Tensor, "V"],
    K: Float[Tensor, "V 3 3"],
    T_cam_world: Float[Tensor, "V 4 4"],
) -> Float[Tensor, "V P 2"]:
    """Undistorted pixels of world points, float32."""
    K = K.float()
    K = torch.cat([K[:, :, :2] * log_focal.float().exp()[:, None, None], K[:, :, 2:]], 2)
    T = pose_matrix(camera.float(), T_cam_world.float())
    x_cam = x_world @ T[:, :3, :3].mT + T[:, None, :3, 3]
    return (x_cam / x_cam[..., 2:]) @ K[:, :2].mT


def _boxes(
    model: FaceModel, operator: DeformationOperator, margin: float, *inputs: Tensor
) -> tuple[Tensor, ...]:
    *leaves, camera, log_focal, K, T, frame = inputs
    world = _world(model, operator, *leaves)[frame]
    return (boxes_around(_projected(world, camera, log_focal, K, T), margin),)


def _distances(
    model: FaceModel,
    operator: DeformationOperator,
    corners: Tensor,
    weights: Tensor,
    *inputs: Tensor,
) -> tuple[Tensor, ...]:
    *leaves, camera, log_focal, K, T, frame, found, confidence = inputs
    world = (_world(model, operator, *leaves)[:, corners] * weights[..., None]).sum(-2)
    offset = _projected(world[frame], camera, log_focal, K, T) - found.float()
    trust = confidence.float() * weights.any(-1)
    # a missing point lies anywhere, at infinity too
    squared = offset.square().sum(-1).masked_fill(trust == 0, 0.0)
    return (((trust * squared).sum(1) / trust.sum(1).clamp_min(1e-9)).sqrt(),)


def _places(model: FaceModel, scheme: str) -> tuple[Int[Tensor, "L 3"], Float[Tensor, "L 3"]]:
    """Corner vertices of a scheme's points, and their float32 weights, all zero where one is missing."""

    def made() -> tuple[Tensor, Tensor]:
        corners, weights = corners_of(model, model.landmarks[scheme])
        return corners, weights.float()

    return once(model, ("places", scheme), made)
