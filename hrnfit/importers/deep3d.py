"""The coefficient vector of Deep3D and HRN, to and from a state of ours.

Layout: identity (80) | expression (64) | albedo (80) | angles (3, rad) | light (27) | translation (3,
decimetres); the first three as long as the model has modes. Their law: x' = Rz Ry Rx x + t with x, y
and z right, up and to the viewer, camera at (0, 0, 10), focal length 1015 px on a picture of 224 px
whose centre is 112; light of nine harmonics per colour, 0.8 added to the first, on normals after the
rotation. Our world is theirs in mm.

Exact both ways: shape, pose, projection, and the light as a linear map, so a normal is shaded alike
(at vertices they weigh the normals of triangles equally, we by area). To first order: albedo, theirs
affine in sRGB, ours in linear light. The pictures differ beyond that, since theirs multiplies shading
with sRGB colours and ours with linear ones. Deformation, displacement and free albedo have no place in
the vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.check import check_finite
from hrnfit.geometry.rotation import pose_matrix, rigid_matrix
from hrnfit.importers.turned_light import turned_light
from hrnfit.model.face_model import FaceModel
from hrnfit.render.shade import DIFFERENCE, LINEAR, PRODUCT, ZONAL
from hrnfit.state import FaceState, Sharing, zero_state

MM_PER_UNIT = 100.0
FOCAL, SIZE, DISTANCE = 1015.0, 224, 10.0
"""px, px, decimetres."""
OFFSET = 0.8
"""Added to the first light coefficient of each colour."""

SH_0 = math.sqrt(math.pi) / 2.0
SH_1 = math.sqrt(math.pi)
SH_2 = (2.0 * math.pi / math.sqrt(8.0)) * (3.0 * math.sqrt(5.0) / math.sqrt(12.0 * math.pi))
"""Constants of their harmonics, 0.886227, 1.772454 and 2.427033."""

FLIP = (1.0, -1.0, -1.0)
"""Their camera axes (y up, z to the viewer) in ours (y down, z forward)."""


@dataclass(frozen=True)
class Window:
    """The square of the photograph that their picture of 224 px shows."""

    left: float
    """px."""
    top: float
    """px."""
    side: float
    """px."""


@dataclass(frozen=True)
class Deep3dView:
    """One photograph in their terms."""

    coefficients: Float[Tensor, "C"]
    window: Window
    """Where their picture lies in the photograph: crop it and scale it to 224 px."""


def state_from_deep3d(
    coefficients: Float[Tensor, "C"] | Float[Tensor, "1 C"], model: FaceModel
) -> tuple[FaceState, Camera, Sharing]:
    """State, camera of the 224 px picture and sharing of one photograph; dtype of the coefficients.

    Raises ValueError when the vector is not as long as the model's modes ask for.
    """
    flat = coefficients[0] if coefficients.ndim == 2 else coefficients
    parts = _split(flat, model)
    identity, expression, albedo, angles, gamma, translation = parts
    one = torch.zeros(1, dtype=torch.int64)
    sharing = Sharing(frame=one, light=one, displacement=one)
    zero = zero_state(
        identity=len(identity),
        expression=len(expression),
        albedo=len(albedo),
        sharing=sharing,
        dtype=flat.dtype,
    ).to(flat.device)
    reference = rigid_matrix(rotation_from_angles(angles), MM_PER_UNIT * translation)
    state = zero.replace(
        identity=identity,
        expression=expression[None],
        albedo=albedo,
        pose_reference=reference[None],
        light=light_from_gamma(gamma)[None],
    )
    return state, deep3d_camera(flat.dtype).to(device=flat.device), sharing


def deep3d_from_state(
    state: FaceState, model: FaceModel, camera: Camera, sharing: Sharing, view: int = 0
) -> Deep3dView:
    """The vector of one view, and the window of its photograph that it describes.

    `camera`: the view's own after the fit, `result.cameras[view]`; the state's corrections are in it
    already. A pinhole with square pixels
    becomes theirs exactly when a window of 224/1015 focal lengths about the principal point is
    scaled to 224 px. Raises ValueError for a lens with distortion, skew or oblong pixels, for a head behind
    the camera, and for a state of another model.
    """
    _check_state(state, model, sharing, view)
    window = _window(camera)
    frame, row = int(sharing.frame[view]), int(sharing.light[view])
    T_cam_world = camera.T_cam_world.to(state.pose)
    T_cam_head = T_cam_world @ pose_matrix(state.pose[frame], state.pose_reference[frame])
    flip = torch.diag(T_cam_head.new_tensor(FLIP))
    centre = T_cam_head.new_tensor([0.0, 0.0, DISTANCE])
    translation = flip @ T_cam_head[:3, 3] / MM_PER_UNIT + centre
    if float(T_cam_head[2, 3]) <= 0.0:
        raise ValueError(
            f"view {view}: the head lies {-float(T_cam_head[2, 3]):.3g} mm behind the camera; give the view's own, "
            "result.cameras[view], in the world of the fit"
        )
    parts = (
        state.identity,
        state.expression[frame],
        state.albedo,
        angles_from_rotation(flip @ T_cam_head[:3, :3]),
        gamma_from_light(turned_light(state.light[row], flip @ T_cam_world[:3, :3])),
        translation,
    )
    return Deep3dView(torch.cat(parts), window)


def deep3d_camera(dtype: torch.dtype = torch.float64) -> Camera:
    """Their camera in a world of mm: at (0, 0, 1000), looking along -z."""
    K = [[FOCAL, 0.0, SIZE / 2], [0.0, FOCAL, SIZE / 2], [0.0, 0.0, 1.0]]
    pose = torch.diag(torch.tensor([*FLIP, 1.0], dtype=torch.float64))
    pose[2, 3] = DISTANCE * MM_PER_UNIT
    return Camera.create(K, pose, height=SIZE, width=SIZE, name="deep3d", dtype=dtype)


def rotation_from_angles(angles: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Rz Ry Rx of pitch, yaw and roll, rad, for columns."""
    (cx, cy, cz), (sx, sy, sz) = angles.cos().unbind(), angles.sin().unbind()
    entries = (
        *(cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        *(sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        *(-sy, cy * sx, cy * cx),
    )
    return torch.stack(entries).reshape(3, 3)


def angles_from_rotation(rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "3"]:
    """Inverse of `rotation_from_angles`, yaw within 90 degrees; at 90 degrees the roll is put to 0."""
    r = rotation.double()
    cosine = torch.hypot(r[0, 0], r[1, 0])
    yaw = torch.atan2(-r[2, 0], cosine)
    if float(cosine) < 1e-7:
        pitch, roll = torch.atan2(-r[1, 2], r[1, 1]), torch.zeros_like(yaw)
    else:
        pitch, roll = torch.atan2(r[2, 1], r[2, 2]), torch.atan2(r[1, 0], r[0, 0])
    return torch.stack([pitch, yaw, roll]).to(rotation)


def light_from_gamma(gamma: Float[Tensor, "27"]) -> Float[Tensor, "9 3"]:
    """Our light that shades as theirs: same harmonics and order, other signs and constants."""
    per_colour = gamma.reshape(3, 9).mT.clone()
    per_colour[0] += OFFSET
    return per_colour * _ratio(gamma)


def gamma_from_light(light: Float[Tensor, "9 3"]) -> Float[Tensor, "27"]:
    """Inverse of `light_from_gamma`."""
    per_colour = light / _ratio(light)
    per_colour[0] -= OFFSET
    return per_colour.mT.reshape(27)


def _ratio(like: Tensor) -> Float[Tensor, "9 1"]:
    """Each of their nine basis functions over ours."""
    theirs = (
        *(SH_0, -SH_1, SH_1, -SH_1, SH_2, -SH_2),
        *(SH_2 / (2.0 * math.sqrt(3.0)), -SH_2, SH_2 / 2.0),
    )
    ours = (1.0, *[LINEAR] * 3, *[PRODUCT] * 2, ZONAL, PRODUCT, DIFFERENCE)
    return (like.new_tensor(theirs) / like.new_tensor(ours))[:, None]


def _split(flat: Float[Tensor, "C"], model: FaceModel) -> tuple[Tensor, ...]:
    """The six parts, checked against the model."""
    sizes = [model.n_identity, model.n_expression, model.n_albedo, 3, 27, 3]
    if len(flat) != sum(sizes):
        raise ValueError(
            f"coefficients: expected {sum(sizes)} numbers for model '{model.info.name}' ({sizes[0]} identity, "
            f"{sizes[1]} expression, {sizes[2]} albedo, 3 angles, 27 light, 3 translation), got {len(flat)}"
        )
    check_finite("coefficients", flat)
    return flat.split(sizes)


def _check_state(state: FaceState, model: FaceModel, sharing: Sharing, view: int) -> None:
    """The state is one of this model and has this view."""
    got = (len(state.identity), state.expression.shape[1], len(state.albedo))
    sizes = (model.n_identity, model.n_expression, model.n_albedo)
    if got != sizes:
        raise ValueError(
            f"state: {got} identity, expression and albedo coefficients, but model '{model.info.name}' has "
            f"{sizes}; pass the model it was fitted with"
        )
    if not 0 <= view < sharing.n_views:
        raise ValueError(f"view {view}: the state has views 0 to {sharing.n_views - 1}")


def _window(camera: Camera) -> Window:
    """The square about the principal point whose field of view is theirs."""
    K = camera.K.double()
    fx, fy, skew = float(K[0, 0]), float(K[1, 1]), float(K[0, 1])
    if bool((camera.distortion != 0).any()):
        raise ValueError(
            "camera: has lens distortion, which Deep3D's coefficients cannot say; undistort the photograph "
            "and pass camera.pinhole()"
        )
    if abs(fx - fy) > 1e-6 * fx or abs(skew) > 1e-6 * fx:
        raise ValueError(
            f"camera: fx {fx:g}, fy {fy:g}, skew {skew:g} px; Deep3D's pixels are square: resample the "
            "photograph and pass camera.resize(...)"
        )
    side = SIZE / FOCAL * fx
    return Window(float(K[0, 2]) - side / 2, float(K[1, 2]) - side / 2, side)
