"""FLAME: a head with linear shape and expression whose neck, jaw and eyes turn (Li et al. 2017).

The turns follow the expression modes as further coefficients, in standard deviations like these, so one
normal prior holds them all. The head frame is FLAME's own in mm, and the global rotation is left out:
the head's pose in the world says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.brief import brief
from hrnfit.model.face_model import LandmarkSet, ModelInfo, ShapeTangent
from hrnfit.model.linear import LinearFaceModel, check_width
from hrnfit.model.skeleton import Skeleton

JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
"""FLAME's joints in the order of its pose vector."""

DEVIATIONS = {
    "neck": (0.15, 0.20, 0.10),
    "jaw": (0.15, 0.03, 0.03),
    "left_eye": (0.15, 0.25, 0.01),
    "right_eye": (0.15, 0.25, 0.01),
}
"""Standard deviations of the turns about x, y, z, rad; ours, FLAME publishes none. x nods, opens the jaw
(positive) and lowers the gaze; y turns to the subject's left; z tilts. The head as a whole turns by its
pose, so the neck's are those of a head against its shoulders before a camera. A jaw opens by up to
0.5 rad and slides sideways little; eyes turn by up to 0.6 rad and hardly roll."""


class FlameParameters(NamedTuple):
    """A face in FLAME's own numbers. Global rotation and translation are not here."""

    shape: Float[Tensor, "*B I"]
    """Standard deviations."""
    expression: Float[Tensor, "*B E"]
    """Standard deviations."""
    neck_pose: Float[Tensor, "*B 3"]
    """Axis-angle, rad."""
    jaw_pose: Float[Tensor, "*B 3"]
    """Axis-angle, rad; about x, positive opens."""
    eye_pose: Float[Tensor, "*B 6"]
    """Axis-angle, rad; left eye, then right eye."""


@dataclass(frozen=True)
class FlameModel:
    """A `FaceModel` of a linear head and a skeleton. All lengths mm, head frame."""

    unposed: LinearFaceModel
    """The head before its joints turn; its expression modes are the first of this model's."""
    skeleton: Skeleton

    __repr__ = brief

    @property
    def info(self) -> ModelInfo:
        return self.unposed.info

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        return self.unposed.faces

    @property
    def uv(self) -> Float[Tensor, "Nuv 2"]:
        return self.unposed.uv

    @property
    def uv_faces(self) -> Int[Tensor, "F 3"]:
        return self.unposed.uv_faces

    @property
    def n_identity(self) -> int:
        return self.unposed.n_identity

    @property
    def n_expression(self) -> int:
        """Expression modes and turns."""
        return self.unposed.n_expression + self.skeleton.n_turns

    @property
    def n_albedo(self) -> int:
        return self.unposed.n_albedo

    @property
    def expression_names(self) -> tuple[str, ...]:
        """Names of the modes, then `neck_x` and on: joint and axis."""
        joints = (JOINTS[j] for j in self.skeleton.turning)
        turns = (f"{joint}_{axis}" for joint in joints for axis in "xyz")
        return (*self.unposed.expression_names, *turns)

    @property
    def expression_is_blendshape(self) -> bool:
        return False

    @property
    def shape_is_linear(self) -> bool:
        return False

    @property
    def regions(self) -> dict[str, Bool[Tensor, "N"]]:
        return self.unposed.regions

    @property
    def landmarks(self) -> dict[str, LandmarkSet]:
        return self.unposed.landmarks

    @property
    def jaw_contour(self) -> Int[Tensor, "17 K"]:
        return self.unposed.jaw_contour

    @property
    def mirror(self) -> Int[Tensor, "N"] | None:
        return self.unposed.mirror

    def shape(
        self, identity: Float[Tensor, "*#B I"], expression: Float[Tensor, "*#B E"]
    ) -> Float[Tensor, "*#B N 3"]:
        """Vertices in the head frame, mm. Batch shapes broadcast: one identity, many expressions."""
        modes, turns = self._split(expression)
        return self.skeleton.posed(self.unposed.shape(identity, modes), turns)

    def tangent(self, identity: Float[Tensor, "I"], expression: Float[Tensor, "E"]) -> ShapeTangent:
        """`shape` there and its derivatives."""
        modes, turns = self._split(expression)
        surface = self.unposed.shape(identity, modes)
        chain = self.skeleton.turned(surface, turns)
        by_vertex, of_joints = self._modes
        posed = self.skeleton.posed_modes(chain, by_vertex, of_joints).permute(2, 0, 1)
        own, other = posed.split([self.n_identity, self.unposed.n_expression])
        turned = self.skeleton.turn_columns(surface, turns, chain)
        return ShapeTangent(self.skeleton.posed(surface, turns), own, torch.cat([other, turned]))

    @cached_property
    def _modes(self) -> tuple[Float[Tensor, "N 3 M"], Float[Tensor, "J 3 M"]]:
        """All linear modes, the mode last, and what they do to the joints. In this layout skinning is one
        small product per vertex: a tangent of FLAME (412 unknowns) takes 40 ms on one core."""
        basis = torch.cat([self.unposed.identity_basis, self.unposed.expression_basis])
        by_vertex = basis.unflatten(1, (-1, 3)).permute(1, 2, 0).contiguous()
        return by_vertex, torch.tensordot(self.skeleton.joint_regressor, by_vertex, 1)

    def albedo(self, coefficients: Float[Tensor, "A"]) -> Float[Tensor, "H W 3"]:
        """Albedo map in UV, linear RGB; affine in the coefficients."""
        return self.unposed.albedo(coefficients)

    def to(self, target: torch.dtype | torch.device | str) -> FlameModel:
        """A copy on another device, or with its floating-point constants in another dtype."""
        return FlameModel(self.unposed.to(target), self.skeleton.to(target))

    def _split(
        self, expression: Float[Tensor, "*B E"]
    ) -> tuple[Float[Tensor, "*B L"], Float[Tensor, "*B T"]]:
        """Modes and turns."""
        check_width("expression", expression, self.n_expression)
        n = self.unposed.n_expression
        return expression[..., :n], expression[..., n:]


def to_flame(
    model: FlameModel, identity: Float[Tensor, "*B I"], expression: Float[Tensor, "*B E"]
) -> FlameParameters:
    """FLAME's parameters of our coefficients. Joints that the model keeps still are at zero."""
    modes, turns = model._split(expression)
    rotvecs = dict(zip(JOINTS, model.skeleton.rotvecs(turns).unbind(-2), strict=True))
    eyes = torch.cat([rotvecs["left_eye"], rotvecs["right_eye"]], dim=-1)
    return FlameParameters(identity, modes, rotvecs["neck"], rotvecs["jaw"], eyes)


def from_flame(
    model: FlameModel, parameters: FlameParameters
) -> tuple[Float[Tensor, "*B I"], Float[Tensor, "*B E"]]:
    """Identity and expression coefficients of FLAME's parameters.

    Fewer shape or expression parameters than modes stand for the first ones, as others use FLAME.
    Raises ValueError when there are more, or when a joint turns that the model keeps still.
    """
    identity = _widened("shape", parameters.shape, model.n_identity)
    modes = _widened("expression", parameters.expression, model.unposed.n_expression)
    left, right = parameters.eye_pose.split(3, dim=-1)
    poses = {"neck": parameters.neck_pose, "jaw": parameters.jaw_pose}
    poses |= {"left_eye": left, "right_eye": right}
    free = [JOINTS[j] for j in model.skeleton.turning]
    for name, pose in poses.items():
        if name not in free and bool((pose != 0).any()):
            raise ValueError(
                f"{name}: turns in these parameters, but model '{model.info.name}' keeps it still "
                f"(it turns {', '.join(free)})"
            )
    turns = [
        poses[name].to(modes) / deviation
        for name, deviation in zip(free, model.skeleton.deviation.to(modes), strict=True)
    ]
    return identity, torch.cat([modes, *turns], dim=-1)


def _widened(name: str, values: Float[Tensor, "*B K"], width: int) -> Float[Tensor, "*B W"]:
    """Zeros appended up to the model's number of modes."""
    if values.shape[-1] > width:
        raise ValueError(f"{name}: {values.shape[-1]} parameters, but the model has {width} modes")
    return torch.nn.functional.pad(values, (0, width - values.shape[-1]))
