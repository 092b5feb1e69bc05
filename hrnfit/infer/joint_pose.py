"""One head pose from several calibrated views of one instant, each with its analyzer's report.

Where a view's analyzer put its own shape's vertices is first said in that view's own camera
(`crop_pose.py`: each view alone explains its report exactly). The one pose of the merged shape then
minimises the squared distances to those pixels, in mm at the head: views weigh alike whatever
their resolution and focal length. A view alone hardly knows its distance; together they triangulate it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.check import check_shape
from hrnfit.geometry.rotation import rigid_inverse, rigid_matrix
from hrnfit.infer.reprojection import (
    Surface,
    checked_pose,
    facing_weights,
    project,
    solve_pose,
    surface,
    visible,
)


@dataclass(frozen=True)
class PosedView:
    """One view's own answer."""

    shape: Float[Tensor, "N 3"]
    """Of the view's own coefficients; head frame, mm."""
    T_cam_head: Float[Tensor, "4 4"]
    """Of `pose_from_crop` with that shape, mm."""
    camera: Camera
    """The photograph's own, calibrated in the common world."""
    name: str = "view"
    """For errors."""


def joint_pose(
    merged: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"], views: Sequence[PosedView]
) -> Float[Tensor, "4 4"]:
    """T_world_head of the merged shape in all views together; mm, float64.

    Exact where the views agree. Vertices weigh by area and by how far they face each view. Raises
    ValueError when the views' poses contradict each other, as with cameras of different rigs.
    """
    if not views:
        raise ValueError("views: at least one is needed")
    face = surface(merged, faces, "merged shape")
    targets = [_target(view, faces, face) for view in views]

    def rows(pose: Tensor) -> tuple[Tensor, Tensor] | None:
        parts = []
        for target in targets:
            points = face.points[target.index]
            if not bool(visible(points, pose, target.camera).all()):
                return None
            pixels, jacobian = project(points, pose, target.camera)
            residual = (target.root * (pixels - target.pixels)).reshape(-1)
            parts.append((residual, (target.root[..., None] * jacobian).reshape(-1, 6)))
        return torch.cat([r for r, _ in parts]), torch.cat([J for _, J in parts])

    single = [target.T_world for target in targets]
    starts = (_average(torch.stack(single)), *single)  # the mean may lie behind a near camera
    found = next((pose for start in starts if (pose := solve_pose(rows, start)) is not None), None)
    if found is None:
        names = ", ".join(view.name for view in views)
        raise ValueError(
            f"views {names}: no single head pose agrees with them; are the cameras of one rig, and were "
            "the photographs taken at one instant?"
        )
    return face.uncentred(found)


@dataclass(frozen=True)
class _Target:
    """Where one view wants the merged shape's vertices."""

    camera: Camera
    index: Int[Tensor, "K"]
    """Vertices that count."""
    pixels: Float[Tensor, "K 2"]
    root: Float[Tensor, "K 1"]
    """Square root of the weight, times mm per px."""
    T_world: Float[Tensor, "4 4"]
    """The view's own pose of the merged shape's points about their middle."""


def _target(view: PosedView, faces: Tensor, merged: Surface) -> _Target:
    check_shape(f"{view.name}: shape", view.shape, tuple(merged.points.shape), "of one model")
    camera = view.camera.to(torch.float64, merged.points.device)
    T_cam_head = checked_pose(f"{view.name}: T_cam_head", view.T_cam_head).to(merged.points)
    T_world_head = rigid_inverse(camera.T_cam_world) @ T_cam_head
    own = surface(view.shape, faces, view.name)
    T_own = own.centred(T_world_head)
    weights = facing_weights(own, T_own, camera)
    index = torch.nonzero(weights)[:, 0]
    if len(index) == 0 or not bool(visible(own.points[index], T_own, camera).all()):
        raise ValueError(
            f"{view.name}: its head lies behind its camera, outside the lens model, or looks away; find the "
            "pose with pose_from_crop and this camera"
        )
    pixels, jacobian = project(own.points[index], T_own, camera)
    moved = (weights[index, None, None] * jacobian[..., 3:].square()).sum().sqrt()
    root = weights[index].sqrt()[:, None] / moved  # of px per mm about the middle
    return _Target(camera, index, pixels, root, merged.centred(T_world_head))


def _average(poses: Float[Tensor, "V 4 4"]) -> Float[Tensor, "4 4"]:
    """Nearest rotation to the mean matrix, and mean translation."""
    U, _, Vh = torch.linalg.svd(poses[:, :3, :3].mean(0))
    turn = torch.ones(3, dtype=poses.dtype, device=poses.device)
    turn[2] = torch.sign(torch.linalg.det(U @ Vh))
    return rigid_matrix(U @ (turn[:, None] * Vh), poses[:, :3, 3].mean(0))
