"""The pose that the analyzer reports from a crop, and the head pose in the user's camera behind it.

The analyzer sees a crop and explains it with a camera of its own (`importers/deep3d.py:deep3d_camera`):
1015 px on 224, 1 m away, looking at the crop's centre. The photograph was taken with another focal
length, from another distance, beside its principal point, through a lens. Of a crop of the true
pose T the best the analyzer can say is

    F(T) = theta  with  J(theta)' W(theta) (p(theta) - c(T)) = 0,

where p are its pixels of the vertices, J their derivatives by its pose, c their true pixels in the
crop, and W the weights of `facing_weights` at theta itself: the weighted least-squares fit of its
camera to the truth, reweighted until it agrees with itself. Given theta, J and W are constants, so the same
six equations determine T: G solves them, and G(F(T)) = T to the solver's precision however strong the
perspective. A plain fit of T to p(theta) would not: it takes the analyzer's perspective for the
photograph's. Exact is the inverse of F only: of a network that weighs the face otherwise, what its
training says of a crop differs by millimetres from F, mostly in depth.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.camera import Camera
from hrnfit.importers.deep3d import SIZE, deep3d_camera
from hrnfit.infer.crop import Crop
from hrnfit.infer.reprojection import (
    Surface,
    carried,
    checked_pose,
    facing_weights,
    project,
    solve_pose,
    surface,
    visible,
)


def analyzer_pose(
    shape: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    T_cam_head: Float[Tensor, "4 4"],
    camera: Camera,
    crop: Crop,
    name: str = "view",
) -> Float[Tensor, "4 4"]:
    """F: the pose that a perfect analyzer reports for a head of known pose, and is to be trained with.

    shape: head frame, mm. camera: the photograph's own; its pose is not used. Answers T_world_head in the
    analyzer's world (x right, y up, z to the viewer, mm), float64. ValueError when not to be seen.
    """
    face = surface(shape, faces, name)
    T = face.centred(checked_pose(f"{name}: T_cam_head", T_cam_head))
    seen_by, analyzer = _crop_camera(camera, crop, face), _analyzer(crop, face)
    if not bool(visible(face.points, T, seen_by).all()):
        raise ValueError(
            f"{name}: part of the head lies behind the camera or outside its lens model (head at "
            f"{_position(T)} mm); check the pose, or calibrate with fewer distortion coefficients"
        )
    target = project(face.points, T, seen_by)[0]

    def rows(pose: Tensor) -> tuple[Tensor, Tensor] | None:
        if not bool(visible(face.points, pose, analyzer).all()):
            return None
        root = facing_weights(face, pose, analyzer).sqrt()[:, None]
        pixels, jacobian = project(face.points, pose, analyzer)
        # The weights follow the pose: equations are solved, not squares minimised, which are smaller
        # beside the solution. Leaving out how weights and J turn costs steps only.
        tangent, by_pose = torch.linalg.qr((root[..., None] * jacobian).reshape(-1, 6))
        return tangent.mT @ (root * (pixels - target)).reshape(-1), by_pose

    found = solve_pose(rows, carried(T, seen_by, analyzer))
    if found is None:
        raise ValueError(
            f"{name}: no pose before the analyzer's camera looks like the head at {_position(T)} mm in this "
            "crop; it stands too near, is turned away from the camera, or the crop is another one's"
        )
    return face.uncentred(found)


def pose_from_crop(
    shape: Float[Tensor, "N 3"],
    faces: Int[Tensor, "F 3"],
    T_analyzer_head: Float[Tensor, "4 4"],
    camera: Camera,
    crop: Crop,
    name: str = "view",
) -> Float[Tensor, "4 4"]:
    """G: T_cam_head in the photograph's camera of which the analyzer reports `T_analyzer_head`.

    The inverse of `analyzer_pose`, with the same arguments; float64. Raises ValueError for a reported pose
    behind the analyzer's camera, and when no pose of the head explains it.
    """
    face = surface(shape, faces, name)
    reported = face.centred(checked_pose(f"{name}: reported pose", T_analyzer_head))
    seen_by, analyzer = _crop_camera(camera, crop, face), _analyzer(crop, face)
    weights = _report_weights(face, reported, analyzer, name)
    seen = weights > 0.0
    points, root = face.points[seen], weights[seen].sqrt()[:, None]
    pixels, jacobian = project(points, reported, analyzer)
    # directions of the crop's pixels in which the analyzer's pose can move, orthonormal
    tangent = torch.linalg.qr((root[..., None] * jacobian).reshape(-1, 6))[0].mT

    def rows(pose: Tensor) -> tuple[Tensor, Tensor] | None:
        if not bool(visible(points, pose, seen_by).all()):
            return None
        moved, by_pose = project(points, pose, seen_by)
        residual = tangent @ (root * (moved - pixels)).reshape(-1)
        return residual, tangent @ (root[..., None] * by_pose).reshape(-1, 6)

    found = solve_pose(rows, _start(reported, analyzer, seen_by, name))
    if found is None:
        raise ValueError(
            f"{name}: no head pose in camera {camera.name!r} explains what the analyzer reports (head at "
            f"{_position(reported)} mm in its own camera); check that the camera is this photograph's, its "
            "focal length in px, and that its lens model reaches the face"
        )
    return face.uncentred(found)


def _report_weights(
    face: Surface, reported: Float[Tensor, "4 4"], analyzer: Camera, name: str
) -> Float[Tensor, "N"]:
    """`facing_weights` of a reported pose, which must show the face to the analyzer."""
    if not bool(visible(face.points, reported, analyzer).all()):
        raise ValueError(
            f"{name}: the reported pose puts the head at {_position(reported)} mm, behind the analyzer's "
            "camera at 1000 mm; do the weights belong to this network, and is the face in the crop?"
        )
    weights = facing_weights(face, reported, analyzer)
    if not bool((weights > 0.0).any()):
        raise ValueError(
            f"{name}: the reported pose turns the face away from the analyzer's camera; do the weights "
            "belong to this network, and is the face in the crop?"
        )
    return weights


def _crop_camera(camera: Camera, crop: Crop, face: Surface) -> Camera:
    """Camera of the crop at the origin, in the surface's precision and place."""
    own = crop.camera(camera).to(torch.float64, face.points.device)
    return replace(own, T_cam_world=torch.eye(4).to(face.points))


def _analyzer(crop: Crop, face: Surface) -> Camera:
    """The analyzer's camera for a crop of any size."""
    camera = deep3d_camera().to(device=face.points.device)
    return camera if crop.size == SIZE else camera.resize(crop.size, crop.size)


def _start(reported: Tensor, analyzer: Camera, seen_by: Camera, name: str) -> Tensor:
    try:
        return carried(reported, analyzer, seen_by)
    except ValueError as error:  # the lens model does not reach the middle of the face
        raise ValueError(f"{name}: camera {seen_by.name!r}: {error}") from error


def _position(T: Tensor) -> str:
    x, y, z = T[:3, 3].tolist()
    return f"({x:.4g}, {y:.4g}, {z:.4g})"
