"""A posed shape in a camera: pixels, their derivatives by the pose, and the least squares over both.

A pose is T_world_head; its tangent is that of `geometry/rotation.py:pose_matrix` about the middle of the
shape, so that turning and moving are nearly independent. Everything here is float64: the two maps of
`crop_pose.py` undo each other only as far as both are solved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.check import check_finite, check_rotation, check_shape
from hrnfit.geometry import brown
from hrnfit.geometry.mesh import face_normals, vertex_normals
from hrnfit.geometry.rotation import (
    frame_from_axes,
    pose_matrix,
    rigid_matrix,
    rotation_from_frames,
    skew,
)

NEAREST = 1.0
"""Smallest depth of a vertex before a camera, mm."""

STEP = 1e-10
"""Movement at which a solution counts as reached, px root mean square: 1e-8 mm of depth at 1 m."""

STEPS = 300
"""Newton's method takes 8 at most. The reweighted fit of `analyzer_pose` converges linearly: 12 on average
and 78 at most over 3,000 random heads, 170 for one half out of a wide-angle picture at 300 mm."""

HALVINGS = 12
"""Of a step that does not help, before the solution is given up."""


@dataclass(frozen=True)
class Surface:
    """The vertices of one shape with what their weights need; float64, about their middle."""

    points: Float[Tensor, "N 3"]
    """Head frame less `middle`, mm."""
    normals: Float[Tensor, "N 3"]
    """Unit normals, outwards."""
    areas: Float[Tensor, "N"]
    """A third of the triangles around each vertex, mm^2."""
    middle: Float[Tensor, "3"]
    """Mean vertex by area, head frame, mm."""

    def centred(self, T: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """Pose of `points` for a pose of the head."""
        return rigid_matrix(T[:3, :3], T[:3, :3] @ self.middle + T[:3, 3])

    def uncentred(self, T: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """Pose of the head for a pose of `points`."""
        return rigid_matrix(T[:3, :3], T[:3, 3] - T[:3, :3] @ self.middle)


def surface(shape: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], name: str) -> Surface:
    """The surface of a shape. Raises ValueError for vertices that are not finite or span nothing."""
    check_finite(f"{name}: shape", shape, "its coefficients may be out of range")
    points = shape.detach().double()
    area = face_normals(points, faces).norm(dim=-1, keepdim=True) / 6.0
    areas = torch.zeros_like(points[:, 0]).index_add(
        0, faces.long().reshape(-1), area.expand(-1, 3).reshape(-1)
    )
    if not float(areas.sum()) > 0.0:
        raise ValueError(f"{name}: the shape has no area; is it the model's, in mm?")
    middle = (areas[:, None] * points).sum(0) / areas.sum()
    return Surface(points - middle, vertex_normals(points, faces), areas, middle)


def facing_weights(face: Surface, T: Float[Tensor, "4 4"], camera: Camera) -> Float[Tensor, "N"]:
    """Weight of each vertex in a camera: its area times the squared cosine under which it is seen.

    0 where it faces away, sum 1, and once differentiable in the pose. By area, so that a mesh finer
    at the eyes does not count them twice.
    """
    centre = (camera.centre - T[:3, 3]) @ T[:3, :3]
    ray = centre - face.points
    cosine = (ray * face.normals).sum(-1) / ray.norm(dim=-1).clamp_min(1e-9)
    weights = face.areas * cosine.clamp_min(0.0).square()
    return weights / weights.sum().clamp_min(1e-300)


def project(
    points: Float[Tensor, "N 3"], T: Float[Tensor, "4 4"], camera: Camera
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2 6"]]:
    """Pixels of posed points and their derivatives by the pose's tangent (rad, mm)."""
    turned = points @ T[:3, :3].mT
    R = camera.T_cam_world[:3, :3]
    x = (turned + T[:3, 3]) @ R.mT + camera.T_cam_world[:3, 3]
    z = x[:, 2:]
    xy = x[:, :2] / z
    pixels = brown.distort(xy, camera.distortion) @ camera.K[:2, :2].mT + camera.K[:2, 2]
    by_xy = camera.K[:2, :2] @ brown.jacobian(xy, camera.distortion)
    by_x = torch.cat([by_xy, -by_xy @ xy[..., None]], -1) / z[..., None]
    by_world = by_x @ R
    return pixels, torch.cat([-by_world @ skew(turned), by_world], -1)


def visible(
    points: Float[Tensor, "N 3"], T: Float[Tensor, "4 4"], camera: Camera
) -> Bool[Tensor, "N"]:
    """Posed points before the camera and inside its lens model; outside the picture is no matter."""
    x = (points @ T[:3, :3].mT + T[:3, 3]) @ camera.T_cam_world[:3, :3].mT
    x = x + camera.T_cam_world[:3, 3]
    front = x[:, 2] > NEAREST
    xy = x[:, :2] / torch.where(front, x[:, 2], torch.ones_like(x[:, 2]))[:, None]
    return front & brown.is_valid(xy, camera.distortion)


def carried(T: Float[Tensor, "4 4"], source: Camera, target: Camera) -> Float[Tensor, "4 4"]:
    """About the pose that looks in `target` as `T` does in `source`: same pixel, same size, same side.

    Weak perspective along the ray through the points' middle: both rays become one, and the distances
    stand as the focal lengths. Where two cameras show one picture this starts the solution.
    """
    T_cam = source.T_cam_world @ T
    pixel = source.project(T[:3, 3])
    ray = torch.cat([target.undistort(pixel), pixel.new_ones(1)])
    ray = torch.linalg.solve_triangular(target.K, ray[:, None], upper=True)[:, 0]
    seen = T_cam[:3, 3]
    scale = _px_per_mm(seen, source) * seen.norm()
    distance = _px_per_mm(ray, target) * ray.norm() / scale * seen.norm()
    position = ray / ray.norm() * distance
    down = ray.new_tensor([0.0, 1.0, 0.0])
    turn = rotation_from_frames(frame_from_axes(seen, down), frame_from_axes(ray, down))
    back = target.T_cam_world[:3, :3].mT
    rotation = back @ turn @ T_cam[:3, :3]
    return rigid_matrix(rotation, back @ (position - target.T_cam_world[:3, 3]))


def _px_per_mm(x_cam: Float[Tensor, "3"], camera: Camera) -> Float[Tensor, ""]:
    """Mean scale of the picture of a small disc that faces the camera at `x_cam`."""
    xy = x_cam[:2] / x_cam[2]
    area = torch.linalg.det(camera.K[:2, :2] @ brown.jacobian(xy, camera.distortion)).abs()
    cosine = x_cam[2] / x_cam.norm()
    return area.sqrt() / x_cam.norm() / cosine**1.5


Rows = Callable[[Float[Tensor, "4 4"]], tuple[Tensor, Tensor] | None]
"""Whitened residuals (R,) and their derivatives (R, 6) at a pose; None where it cannot be seen."""


def solve_pose(rows: Rows, start: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"] | None:
    """Gauss-Newton with halved steps on the squared residuals: Newton's method when there are six.

    None when it gets stuck, or the movement does not fall below `STEP`.
    """
    T, current = start, rows(start)
    for _ in range(STEPS):
        if current is None:
            return None
        residual, jacobian = current
        Q, R = torch.linalg.qr(jacobian)
        if not bool((R.diagonal().abs() > 1e-14 * R.abs().max()).all()):
            return None
        step = -torch.linalg.solve_triangular(R, (Q.mT @ residual)[:, None], upper=True)[:, 0]
        T, current = _halved_until_better(rows, T, step, float(residual.norm()))
        if current is not None and float((R @ step).norm()) < STEP:
            return T
    return None


def _halved_until_better(
    rows: Rows, T: Tensor, step: Tensor, size: float
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """The first of step, step / 2, ... after which the residuals have not grown; None if there is none."""
    for halving in range(HALVINGS):
        trial = pose_matrix(step * 0.5**halving, T)
        result = rows(trial)
        # at the solution the size changes by rounding only, either way
        if result is not None and float(result[0].norm()) <= size * (1.0 + 1e-9) + 1e-9:
            return trial, result
    return T, None


def checked_pose(name: str, T: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
    """A rigid pose as float64, or a ValueError."""
    check_shape(name, T, (4, 4))
    check_finite(name, T)
    check_rotation(name, T[:3, :3])
    return T.detach().double()
