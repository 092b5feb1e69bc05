"""Where the texels of the skin are, and what every view sees of them: the data of the stages that
compare views.

`map_stage` and `coefficient_stage` put different unknowns behind the same look at the same texels. The
unknowns that both may move, head pose and focal length, have their derivatives and the width of
their priors here as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.light_field import light_of_frames
from hrnfit.energy.shared_albedo import (
    Consensus,
    TexelSource,
    TexelViews,
    consensus,
    read_texels,
    texel_source,
)
from hrnfit.energy.texels import Texels
from hrnfit.fit.recordable import recordable
from hrnfit.fit.scene import Scene
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.rotation import left_jacobian, skew
from hrnfit.model.face_model import FaceModel
from hrnfit.prediction import Prediction
from hrnfit.solve.recorded import records, replayed
from hrnfit.state import FaceState


@runtime_checkable
class SkinSettings(Protocol):
    """How closely a stage looks; the settings of both stages have these fields."""

    @property
    def size(self) -> int:
        """Window, px."""
        ...

    @property
    def texels(self) -> int:
        """Texels per side of the chart at which views are compared."""
        ...

    @property
    def blur(self) -> float:
        """Gaussian on the windows, px."""
        ...

    @property
    def kernel_scale(self) -> float:
        """Geman-McClure scale of the colour residual, tenths of the gamma range."""
        ...

    @property
    def offset(self) -> float:
        """Width of the smooth light field per view, share of the UV square; 0 switches it off."""
        ...


@dataclass(frozen=True)
class SkinLook:
    """One evaluation: where P texels are, and what V views of T frames see of them."""

    prediction: Prediction
    x_cam: Float[Tensor, "V P 3"]
    """Texels in each view's camera frame, mm."""
    R_cam_head: Float[Tensor, "V 3 3"]
    normals_head: Float[Tensor, "T P 3"]
    """Unit normals of the surface without displacement, head frame."""
    normals_cam: Float[Tensor, "V P 3"]
    seen: TexelViews
    agreed: Consensus
    """With the light field of the moment taken out."""


class SeenSkin(NamedTuple):
    """Those parts of a `SkinLook` that come before views are compared."""

    x_cam: Float[Tensor, "V P 3"]
    R_cam_head: Float[Tensor, "V 3 3"]
    normals_head: Float[Tensor, "T P 3"]
    normals_cam: Float[Tensor, "V P 3"]
    seen: TexelViews


def seen_skin(
    prediction: Prediction,
    source: TexelSource,
    texels: Texels,
    compared: Float[Tensor, "P"],
    height: Float[Tensor, "V P"] | None = None,
    visible: Float[Tensor, "V P"] | None = None,
) -> SeenSkin:
    """The texels of a prediction in every view; as `SharedSkin.look`. compared: 0 for texels that are left out."""
    frame, vertices = prediction.sharing.frame, prediction.vertices_head
    head = texels.interpolate(vertices)[frame]
    normals = texels.interpolate(vertex_normals(vertices, prediction.model.faces))
    normals = normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    if height is not None:
        head = head + height[..., None] * normals[frame]
    pose, T = prediction.T_world_head, prediction.projection.T_cam_world
    R = T[:, :3, :3] @ pose[frame, :3, :3]
    shift = (T[:, :3, :3] @ pose[frame, :3, 3:])[..., 0] + T[:, :3, 3]
    x_cam = head @ R.mT + shift[:, None]
    normals_cam = normals[frame] @ R.mT
    K, depth = prediction.projection.K, prediction.raster.depth if visible is None else None
    seen = read_texels(source, K, x_cam, normals_cam, depth)
    seen = replace(seen, weight=seen.weight * compared if visible is None else visible)
    return SeenSkin(x_cam, R, normals, normals_cam, seen)


MOVING = ("eyes", "lips", "mouth", "mouth_interior")
"""Regions that views of different instants do not share: gaze, and the mouth, where teeth show through
lips that do not yet open as they should."""


class SharedSkin:
    """Texels and windows of one stage. Keeps the light field of the last `relight`."""

    def __init__(self, scene: Scene, settings: SkinSettings) -> None:
        self._scene, self._settings = scene, settings
        views = scene.windows(settings.size)
        self._source: TexelSource = texel_source(views, settings.blur)
        self.texels: Texels = scene.texels(settings.texels)
        self._light = self._source.channels.new_zeros(len(views.K), len(self.texels.flat), 3)
        apart = MOVING if scene.sharing.n_frames > 1 else ()
        self._compared = outside_regions(scene.model, self.texels, apart)

    def look(
        self,
        state: FaceState,
        height: Float[Tensor, "V P"] | None = None,
        visible: Float[Tensor, "V P"] | None = None,
    ) -> SkinLook:
        """The skin of a state.

        height: of the texels above the mid surface as each view shows it, along its normal, mm. visible:
        weight of each texel in each view, from an earlier look; None looks at what is hidden, masked or
        turned away now.
        """
        prediction = self._scene.predict(state, self._settings.size)
        found = seen_skin(prediction, self._source, self.texels, self._compared, height, visible)
        return SkinLook(prediction, *found, self._consensus(found.seen))

    def relight(self, look: SkinLook) -> SkinLook:
        """The look with the light field that the views' smooth disagreement asks for, kept for later
        looks; unchanged where the settings switch the field off."""
        s = self._settings
        if s.offset <= 0:
            return look
        self._light = _recorded_light(
            look.seen, look.normals_cam, self.texels, s.offset, s.kernel_scale
        )
        return replace(look, agreed=self._consensus(look.seen))

    def refreshed(self, state: FaceState) -> Float[Tensor, "V P"]:
        """Look at a state and `relight`; who sees what. On a GPU by one recording, for linear models."""
        s, scene = self._settings, self._scene
        recorded = records(scene.device) and recordable(scene) and scene.model.shape_is_linear
        if s.offset <= 0 or not recorded:
            return self.relight(self.look(state)).seen.weight
        from hrnfit.fit.recorded_skin import recorded_look  # local: it imports this module

        given = (self._source, self.texels, self._compared, s.offset, s.kernel_scale)
        visible, self._light = recorded_look(scene, state, scene.windows(s.size), *given)
        return visible

    @property
    def source(self) -> TexelSource:
        """The windows that texels are read from."""
        return self._source

    @property
    def light(self) -> Float[Tensor, "V P 3"]:
        """The light field of the last `relight`; zero before."""
        return self._light

    def _consensus(self, seen: TexelViews) -> Consensus:
        return consensus(seen, self._light, self._settings.kernel_scale)


def _recorded_light(
    seen: TexelViews, normals: Float[Tensor, "V P 3"], texels: Texels, sigma: float, scale: float
) -> Float[Tensor, "V P 3"]:
    """The light field, recorded on a GPU."""

    def field(colour: Tensor, jacobian: Tensor, weight: Tensor, normals: Tensor) -> tuple[Tensor]:
        views, own = TexelViews(colour, jacobian, weight), len(normals)
        frame = torch.arange(own, device=normals.device)
        still = torch.eye(3, 4, dtype=normals.dtype, device=normals.device).expand(own, 3, 4)
        return (light_of_frames(views, normals, frame, still, texels, sigma, scale),)

    # the recording holds the texels: no others take their place in memory
    key = ("light field", id(texels.flat), sigma, scale)
    inputs = (seen.colour, seen.jacobian, seen.weight, normals)
    return replayed(key, field, inputs)[0].clone()


class LocalShape(NamedTuple):
    """The model at P texels as a linear function of its coefficients, head frame, mm."""

    mean: Float[Tensor, "P 3"]
    """At zero coefficients, by the tangent."""
    identity: Float[Tensor, "P 3 I"]
    """Per coefficient."""
    expression: Float[Tensor, "P 3 E"]
    """Per coefficient."""

    def only(self, rows: Int[Tensor, "K"]) -> LocalShape:
        """At some of the texels."""
        return LocalShape(*(part[rows] for part in self))

    def double(self) -> LocalShape:
        """In float64."""
        return LocalShape(*(part.double() for part in self))


def local_shape(
    model: FaceModel,
    texels: Texels,
    identity: Float[Tensor, "I"],
    expression: Float[Tensor, "E"],
) -> LocalShape:
    """The model at the texels, linear around coefficients."""
    tangent = model.tangent(identity, expression)
    own, other = (texels.interpolate(m).movedim(0, -1) for m in tangent[1:])
    return LocalShape(
        texels.interpolate(tangent.shape) - own @ identity - other @ expression, own, other
    )


def neutral_shape(model: FaceModel, texels: Texels, like: Float[Tensor, "I"]) -> LocalShape:
    """The same around the mean face. `like`: a leaf of the state, for device and dtype."""
    shape, *both = model.tangent(
        *(like.new_zeros(n) for n in (model.n_identity, model.n_expression))
    )
    # differences of shapes in the model's precision, as `surface_points` has them
    own, other = (texels.interpolate((shape + m) - shape).movedim(0, -1) for m in both)
    return LocalShape(texels.interpolate(shape), own, other)


def outside_regions(model: FaceModel, texels: Texels, names: tuple[str, ...]) -> Float[Tensor, "P"]:
    """0 for texels that touch one of the model's regions, else 1; names it does not know are none."""
    touched = torch.zeros(len(texels.corners), dtype=torch.bool, device=texels.corners.device)
    for name in names:
        if name in model.regions:
            mask = model.regions[name].to(texels.corners.device)
            touched |= mask[texels.corners].any(1)
    return (~touched).float()


def pose_columns(
    jacobian: Float[Tensor, "*B P 3 3"],
    x_cam: Float[Tensor, "*B P 3"],
    T_cam_world: Float[Tensor, "*B 4 4"],
    T_world_head: Float[Tensor, "*B 4 4"],
    rotation: Float[Tensor, "*B 3"],
) -> Float[Tensor, "*B P 3 6"]:
    """Derivative of texel colours in the tangent of the head pose (rad, mm).

    `jacobian`: of the colours in the camera-frame position. `rotation`: where the tangent's rotation
    stands.
    """
    R = T_cam_world[..., :3, :3]
    centre = (R @ T_world_head[..., :3, 3:])[..., 0] + T_cam_world[..., :3, 3]
    arm = (x_cam - centre[..., None, :]) @ R  # world, from the head's origin
    turn = left_jacobian(rotation.to(jacobian))[..., None, :, :]
    in_world = jacobian @ R[..., None, :, :]
    return torch.cat([in_world @ -skew(arm) @ turn, in_world], dim=-1)


def focal_columns(
    jacobian: Float[Tensor, "*B P 3 3"], x_cam: Float[Tensor, "*B P 3"]
) -> Float[Tensor, "*B P 3 1"]:
    """Derivative of texel colours in the log focal length: as if the texels moved sideways."""
    return jacobian[..., :2] @ x_cam[..., :2, None]


def pose_deviations(move: float, arm: float) -> Float[Tensor, "6"]:
    """Standard deviations of a pose tangent: `move` mm, and the turn that moves `arm` mm as far."""
    return torch.tensor([move / arm] * 3 + [move] * 3, dtype=torch.float64)


def focal_deviations(
    given: Float[Tensor, "V"] | None, default: float, views: int
) -> Float[Tensor, "V"]:
    """Standard deviation of each view's log focal length: what is known of its camera, or the
    stage's own."""
    if given is None:
        return torch.full((views,), default, dtype=torch.float64)
    return given.detach().double().cpu()
