"""What the analyzer says of a crop, as parts of a state in the photograph's own camera.

Shape and albedo do not depend on the camera; the pose is solved for (`crop_pose.py`). The light is tied to
the head: the crop is explained by a head turned otherwise before another camera, and what has to
stay is how every vertex is shaded, so the light turns with the head from one world to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from hrnfit.brief import brief
from hrnfit.camera import Camera
from hrnfit.importers.deep3d import state_from_deep3d
from hrnfit.importers.turned_light import turned_light
from hrnfit.infer.crop import Crop
from hrnfit.infer.crop_pose import pose_from_crop
from hrnfit.model.face_model import FaceModel


@dataclass(frozen=True)
class CropState:
    """One view's coefficients, pose and light; dtype of the coefficients, poses float64."""

    identity: Float[Tensor, "I"]
    """Standard deviations."""
    expression: Float[Tensor, "E"]
    """Standard deviations, or activations, as the model has them."""
    albedo: Float[Tensor, "A"]
    """Standard deviations."""
    T_analyzer_head: Float[Tensor, "4 4"]
    """Pose in the analyzer's world (x right, y up, z to the viewer), mm: as reported."""
    T_cam_head: Float[Tensor, "4 4"]
    """Pose in the photograph's camera, mm."""
    light: Float[Tensor, "9 3"]
    """Harmonics in the axes of the photograph's camera, linear RGB."""

    __repr__ = brief

    @property
    def light_head(self) -> Float[Tensor, "9 3"]:
        """The light in the head frame, where views from anywhere can be compared."""
        return turned_light(self.light, self.T_cam_head[:3, :3].mT)


def state_from_crop(
    coefficients: Float[Tensor, "C"] | Float[Tensor, "1 C"],
    model: FaceModel,
    camera: Camera,
    crop: Crop,
    name: str = "view",
) -> CropState:
    """State parts of the analyzer's vector of one crop, in the photograph's own camera.

    Raises ValueError for a vector that is not the model's or not finite, and as `pose_from_crop` does.
    """
    state, _, _ = state_from_deep3d(coefficients, model)
    identity, expression = state.identity.to(model.uv), state.expression[0].to(model.uv)
    shape = model.shape(identity, expression)
    reported = state.pose_reference[0].double()
    T_cam_head = pose_from_crop(
        shape, model.faces, reported.to(shape.device), camera, crop, name
    ).to(reported.device)
    return CropState(
        identity=state.identity,
        expression=state.expression[0],
        albedo=state.albedo,
        T_analyzer_head=reported,
        T_cam_head=T_cam_head,
        light=light_in_world(state.light[0], reported, T_cam_head),
    )


def light_in_world(
    light: Float[Tensor, "9 3"],
    T_analyzer_head: Float[Tensor, "4 4"],
    T_world_head: Float[Tensor, "4 4"],
) -> Float[Tensor, "9 3"]:
    """The analyzer's light (our basis, its world) in the world where the head has pose `T_world_head`.

    Exact: each vertex of the head is shaded alike. Pass T_cam_head for a light in camera axes.
    """
    R_world_analyzer = T_world_head[:3, :3].double() @ T_analyzer_head[:3, :3].double().mT
    return turned_light(light, R_world_analyzer)
