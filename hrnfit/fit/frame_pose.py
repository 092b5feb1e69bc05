"""Where the head is at one instant, from its landmarks and the mean face: triangulation or PnP."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.landmark_views import FACE_DIAGONAL, LandmarkView
from hrnfit.geometry.align import (
    Triangulation,
    align_rigid,
    align_similarity,
    camera_from_points,
    triangulate,
)
from hrnfit.geometry.rotation import rigid_inverse, rigid_matrix

RAY_WIDTH = 3.0
"""Distance at which a ray starts to lose its weight in triangulation, mm."""

CONTRADICTION = 5.0
"""Median distance of a view's rays from the triangulated points that calls for a reason, mm."""


def frame_pose(views: Sequence[LandmarkView], log_focal: float = 0.0) -> Float[Tensor, "4 4"]:
    """T_world_head of the mean face: triangulated when two or more calibrated views share a scheme."""
    group = calibrated_group(views)
    if len(group) < 2:
        return _pose_from_view(max(views, key=lambda view: view.diagonal), log_focal)
    mean = group[0].basis.mean
    # points that two rays agree on; fewer than two say nothing of depth
    points, agreed = met_points(triangulated(group))
    if int((agreed > 1e-3).sum()) < 4:
        return _pose_from_view(max(views, key=lambda view: view.diagonal), log_focal)
    weight = agreed
    for _ in range(10):
        pose = align_rigid(mean, points, weight)
        error = (pose.apply(mean) - points).norm(dim=-1)
        # 8 mm: the mean face differs from a real one by this much at the chin and the ears
        weight = agreed / (1.0 + (error / 8.0).square()).square()
    return pose.matrix


def inconsistent_view(views: Sequence[LandmarkView]) -> str | None:
    """The calibrated view without which the others agree; None when all agree, or none explains it."""
    group = calibrated_group(views)
    if len(group) < 3:
        return None
    before = _disagreement(group)
    if before < CONTRADICTION:
        return None
    without = [_disagreement([*group[:i], *group[i + 1 :]]) for i in range(len(group))]
    least = min(without)
    if least >= 0.6 * before:
        return None
    # A wrong view may meet one other by chance, at points that look like no face.
    explains = [i for i, rest in enumerate(without) if rest < max(CONTRADICTION, 1.2 * least)]
    best = min(explains, key=lambda i: strangeness([*group[:i], *group[i + 1 :]]))
    return group[best].name


def strangeness(group: Sequence[LandmarkView]) -> float:
    """Mean distance of the triangulated points from the mean face, over the face's size."""
    points, weight = met_points(triangulated(group))
    shape = align_similarity(group[0].basis.mean, points, weight)
    distance = (shape.apply(group[0].basis.mean) - points).norm(dim=-1)
    return float((weight * distance).sum() / weight.sum() / shape.scale.abs().clamp_min(1e-9))


def met_points(found: Triangulation) -> tuple[Float[Tensor, "L 3"], Float[Tensor, "L"]]:
    """Triangulated points, and how far at least two rays agree on each."""
    weight = (found.weight.sum(0) - found.weight.amax(0)).clamp_min(0.0)
    return found.points, weight + 1e-12


def disagreement(views: Sequence[LandmarkView]) -> float:
    """Worst view's median distance of its rays from the triangulated points, mm; 0 for one view."""
    group = calibrated_group(views)
    return _disagreement(group) if len(group) > 1 else 0.0


def _disagreement(group: Sequence[LandmarkView]) -> float:
    points = triangulated(group)
    worst = 0.0
    for view, error in zip(group, points.error, strict=True):
        seen = view.weight > 0.1
        worst = max(worst, float(error[seen].median()) * FACE_DIAGONAL / view.diagonal)
    return worst


def calibrated_group(views: Sequence[LandmarkView]) -> list[LandmarkView]:
    """Calibrated views of the scheme that most of them use."""
    known = [view for view in views if view.camera_known]
    if not known:
        return []
    scheme = Counter(view.scheme for view in known).most_common(1)[0][0]
    return [view for view in known if view.scheme == scheme]


class _Recent(threading.local):
    """The last triangulations of a thread by the tensors that went in, which are kept, so that no other has
    their identity: the checks of a rig and its start ask six times for the same points, at 8 ms each."""

    def __init__(self) -> None:
        self.found: OrderedDict[tuple[int, ...], tuple[list[Tensor], Triangulation]] = OrderedDict()


_recent = _Recent()


def triangulated(group: Sequence[LandmarkView]) -> Triangulation:
    """Points of one scheme from all its calibrated views, world mm."""
    tensors = [t for view in group for t in (view.pixels, view.weight, view.K, view.T_cam_world)]
    key, kept = tuple(map(id, tensors)), _recent.found
    if key not in kept:
        kept[key] = (tensors, _triangulated(group))
        while len(kept) > 4:
            kept.popitem(last=False)
    return kept[key][1]


def _triangulated(group: Sequence[LandmarkView]) -> Triangulation:
    pixels = torch.stack([view.pixels for view in group])
    confidence = torch.stack([view.weight for view in group])
    projection = torch.stack([view.K @ view.T_cam_world[:3] for view in group])
    scale = torch.tensor([RAY_WIDTH * view.diagonal / FACE_DIAGONAL for view in group])
    return triangulate(pixels, confidence, projection, scale.to(pixels))


def _pose_from_view(view: LandmarkView, log_focal: float) -> Tensor:
    """PnP of the mean face, with the focal length changed by a factor."""
    seen = view.weight > 0.05 * view.weight.max()
    factor = torch.tensor([log_focal, log_focal, 0.0], dtype=view.K.dtype).exp()
    K = view.K.clone()
    K[:2, :2] = K[:2, :2] * factor[0]
    points, pixels = view.basis.mean[seen], view.pixels[seen]
    if len(points) >= 6:
        T_cam_head = camera_from_points(points, pixels, K)
    else:
        T_cam_head = _weak_perspective(points, pixels, K)
    return rigid_inverse(view.T_cam_world) @ T_cam_head


def _weak_perspective(points: Tensor, pixels: Tensor, K: Tensor) -> Tensor:
    """Scaled orthography for the few points of the scheme `five`: too few for EPnP."""
    centred = points - points.mean(0)
    middle = pixels.mean(0)
    normalised = (pixels - middle) @ torch.linalg.inv(K[:2, :2]).mT
    # 1 mm of ridge holds the direction that nearly coplanar points leave open
    H = centred.mT @ centred + torch.eye(3, dtype=points.dtype)
    affine = torch.linalg.solve(H, centred.mT @ normalised).mT  # (2, 3)
    U, singular, Vh = torch.linalg.svd(affine, full_matrices=False)
    rows = U @ Vh
    R = torch.cat([rows, torch.linalg.cross(rows[0], rows[1])[None]])
    depth = 1.0 / singular.mean().clamp_min(1e-9)
    centre = torch.linalg.solve(K, torch.cat([middle, middle.new_ones(1)])) * depth
    return rigid_matrix(R, centre - R @ points.mean(0))
