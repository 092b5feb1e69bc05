"""What the analyzer says of a crop, as parts of a state.

Shape and albedo do not depend on the camera; the pose is the analyzer's own, which `crop_pose.py` carries to
the photograph's camera. The light is tied to the head: the crop is explained by a head turned otherwise before
another camera, and what has to stay is how every vertex is shaded, so it is kept in the head frame.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from hrnfit.brief import brief
from hrnfit.importers.deep3d import state_from_deep3d
from hrnfit.importers.turned_light import turned_light
from hrnfit.model.face_model import FaceModel


@dataclass(frozen=True)
class CropState:
    """One view's coefficients, pose and light; device and dtype of the coefficients."""

    identity: Float[Tensor, "I"]
    """Standard deviations."""
    expression: Float[Tensor, "E"]
    """Standard deviations, or activations, as the model has them."""
    albedo: Float[Tensor, "A"]
    """Standard deviations."""
    T_analyzer_head: Float[Tensor, "4 4"]
    """Pose in the analyzer's world (x right, y up, z to the viewer), mm."""
    light_head: Float[Tensor, "9 3"]
    """Harmonics of the light in the head frame, linear RGB: `turned_light` with R_world_head puts them into
    any world, and views from anywhere can be compared."""

    __repr__ = brief


def state_from_crop(
    coefficients: Float[Tensor, "C"] | Float[Tensor, "1 C"], model: FaceModel
) -> CropState:
    """State parts of the analyzer's vector of one crop.

    Raises ValueError for a vector that is not the model's or not finite.
    """
    state, _, _ = state_from_deep3d(coefficients, model)
    T = state.pose_reference[0]
    return CropState(
        identity=state.identity,
        expression=state.expression[0],
        albedo=state.albedo,
        T_analyzer_head=T,
        light_head=turned_light(state.light[0], T[:3, :3].mT),
    )
