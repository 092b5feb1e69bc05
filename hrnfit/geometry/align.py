"""Alignment of points: Umeyama similarity, camera pose from points, and robust triangulation.

Pixels here are already undistorted and `K` is a pinhole: lenses are the camera's affair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.rotation import rigid_matrix


@dataclass(frozen=True)
class Similarity:
    """x_dst = scale * R_dst_src x_src + t."""

    scale: Float[Tensor, "*B"]
    rotation: Float[Tensor, "*B 3 3"]
    translation: Float[Tensor, "*B 3"]
    """In units of the destination."""

    def apply(self, points: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B N 3"]:
        """Points of the source frame, in the destination frame."""
        turned = points @ self.rotation.mT
        return self.scale[..., None, None] * turned + self.translation[..., None, :]

    @property
    def matrix(self) -> Float[Tensor, "*B 4 4"]:
        """Homogeneous matrix, scale included."""
        return rigid_matrix(self.scale[..., None, None] * self.rotation, self.translation)


def align_similarity(
    source: Float[Tensor, "*B N 3"],
    target: Float[Tensor, "*B N 3"],
    weights: Float[Tensor, "*B N"] | None = None,
) -> Similarity:
    """Weighted least-squares similarity from source to target (Umeyama 1991, eqs. 34-43)."""
    return _procrustes(source, target, weights, fixed_scale=None)


def align_rigid(
    source: Float[Tensor, "*B N 3"],
    target: Float[Tensor, "*B N 3"],
    weights: Float[Tensor, "*B N"] | None = None,
) -> Similarity:
    """Weighted least-squares rotation and translation from source to target; scale 1."""
    return _procrustes(source, target, weights, fixed_scale=1.0)


def _procrustes(
    source: Tensor, target: Tensor, weights: Tensor | None, fixed_scale: float | None
) -> Similarity:
    if source.shape[-2] < 3:
        raise ValueError(f"alignment needs at least 3 points, got {source.shape[-2]}")
    if weights is None:
        weights = torch.ones_like(source[..., 0])
    w = (weights / weights.sum(-1, keepdim=True))[..., None]
    mean_source, mean_target = (w * source).sum(-2), (w * target).sum(-2)
    centred_source = source - mean_source[..., None, :]
    centred_target = target - mean_target[..., None, :]
    covariance = (w * centred_target).mT @ centred_source
    U, singular, Vh = torch.linalg.svd(covariance)
    flip = torch.ones_like(singular)
    flip[..., 2] = torch.where(torch.linalg.det(U @ Vh) < 0, -1.0, 1.0)  # never a reflection
    rotation = U @ (flip[..., None] * Vh)
    if fixed_scale is None:
        variance = (w * centred_source.square()).sum((-2, -1))
        scale = (singular * flip).sum(-1) / variance
    else:
        scale = torch.full_like(mean_source[..., 0], fixed_scale)
    moved = scale[..., None] * (rotation @ mean_source[..., None]).squeeze(-1)
    return Similarity(scale, rotation, mean_target - moved)


def camera_from_points(
    points: Float[Tensor, "N 3"], pixels: Float[Tensor, "N 2"], K: Float[Tensor, "3 3"]
) -> Float[Tensor, "4 4"]:
    """T_cam_points from points and their undistorted pixels: EPnP, then cv2's LM refinement.

    EPnP (Lepetit et al. 2009) rather than the DLT: it stays stable for the shallow relief of a face.
    A solution that lies behind the camera is mirrored to its twin in front before refinement.
    """
    import cv2

    if len(points) < 6:
        raise ValueError(f"camera pose needs at least 6 points, got {len(points)}")
    object_points = np.ascontiguousarray(points.detach().cpu().numpy(), dtype=np.float64)
    image_points = np.ascontiguousarray(pixels.detach().cpu().numpy(), dtype=np.float64)
    intrinsics = K.detach().cpu().numpy().astype(np.float64)
    centre = object_points.mean(0)
    found, rotvec, translation = cv2.solvePnP(
        object_points - centre, image_points, intrinsics, None, flags=cv2.SOLVEPNP_EPNP
    )
    if not found or not np.isfinite(rotvec).all():
        raise ValueError("camera pose: no solution; the points may be collinear")
    if translation[2, 0] < 0:
        mirror = cv2.Rodrigues(rotvec)[0]
        mirror[:2] *= -1  # same image under x / z for a point set seen from the far side
        rotvec, translation = cv2.Rodrigues(mirror)[0], -translation
    rotvec, translation = cv2.solvePnPRefineLM(
        object_points - centre, image_points, intrinsics, None, rotvec, translation
    )
    R = cv2.Rodrigues(rotvec)[0]
    t = translation[:, 0] - R @ centre
    return rigid_matrix(
        torch.as_tensor(R, dtype=points.dtype), torch.as_tensor(t, dtype=points.dtype)
    ).to(points.device)


@dataclass(frozen=True)
class Triangulation:
    """Points seen by several calibrated views."""

    points: Float[Tensor, "L 3"]
    """World, mm; meaningless where fewer than two views see the point."""
    error: Float[Tensor, "V L"]
    """Reprojection error, px."""
    weight: Float[Tensor, "V L"]
    """Confidence times the robust weight it ended with, 0..1."""


def triangulate(
    pixels: Float[Tensor, "V L 2"],
    confidence: Float[Tensor, "V L"],
    projection: Float[Tensor, "V 3 4"],
    scale: Float[Tensor, "V"],
    iterations: int = 12,
) -> Triangulation:
    """Robust points from pixels: DLT, then Gauss-Newton on reprojection error, reweighted.

    `projection` is K [R | t]; `scale` is the error in px, per view, at which a ray starts to lose
    its weight (Geman-McClure; three times wider in the first half of the iterations).
    """
    if len(pixels) < 2:
        raise ValueError("triangulation needs at least two views, got 1")
    points = _triangulate_dlt(pixels, confidence, projection)
    for i in range(iterations):
        width = scale[:, None] * (3.0 if i < iterations // 2 else 1.0)
        offset, jacobian, depth = _reproject(points, pixels, projection)
        # behind a camera the linear model is meaningless: such a ray says nothing
        weight = confidence * _geman_mcclure(offset.norm(dim=-1) / width) * (depth > 0)
        weighted = weight[..., None, None] * jacobian
        H = (weighted.mT @ jacobian).sum(0)
        g = (weighted.mT @ offset[..., None]).sum(0)
        damping = 1e-9 * H.diagonal(dim1=-2, dim2=-1).sum(-1) + 1e-12
        eye = torch.eye(3, dtype=H.dtype, device=H.device)
        points = points - torch.linalg.solve(H + damping[:, None, None] * eye, g).squeeze(-1)
    offset, _, depth = _reproject(points, pixels, projection)
    error = offset.norm(dim=-1)
    weight = confidence * _geman_mcclure(error / scale[:, None]) * (depth > 0)
    return Triangulation(points, error, weight)


def _triangulate_dlt(pixels: Tensor, confidence: Tensor, projection: Tensor) -> Tensor:
    """Linear triangulation about the mean camera's scale (Hartley & Zisserman 2004, sec. 12.2)."""
    rows = pixels[..., None] * projection[:, None, 2:3, :] - projection[:, None, :2, :]
    # rows in units of the normalised camera, so wide and narrow lenses weigh alike
    rows = rows / projection[:, :2, :3].norm(dim=(1, 2))[:, None, None, None]
    rows = rows * confidence[..., None, None]
    system = rows.permute(1, 0, 2, 3).reshape(pixels.shape[1], -1, 4)
    A, b = system[..., :3], -system[..., 3:]
    H = A.mT @ A
    trace = H.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None].clamp_min(1e-30)
    eye = torch.eye(3, dtype=H.dtype, device=H.device)
    return torch.linalg.solve(H + 1e-12 * trace * eye, A.mT @ b).squeeze(-1)


def _reproject(points: Tensor, pixels: Tensor, projection: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets (V, L, 2), their Jacobians (V, L, 2, 3) and depths (V, L)."""
    homogeneous = points @ projection[:, :, :3].mT + projection[:, None, :, 3]
    depth = homogeneous[..., 2]
    safe = torch.where(depth.abs() < 1e-9, torch.full_like(depth, 1e-9), depth)
    projected = homogeneous[..., :2] / safe[..., None]
    P = projection[:, None, :, :3]
    jacobian = (P[:, :, :2] - projected[..., None] * P[:, :, 2:]) / safe[..., None, None]
    return projected - pixels, jacobian, depth


def _geman_mcclure(ratio: Tensor) -> Tensor:
    """IRLS weight of rho = r^2 / (1 + r^2)."""
    return 1.0 / (1.0 + ratio.square()).square()
