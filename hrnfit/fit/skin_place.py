"""Where the skin is in every view for the leaves of a map stage, in tensors of fixed shapes.

The same laws as `Prediction` and `SharedSkin.look`, without their lazy parts: the coarse face stands still
during a map stage, so it comes as vertices, and nothing is read by the host.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.texels import Texels
from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.geometry.rotation import pose_matrix
from hrnfit.geometry.rows import project_frames
from hrnfit.model.deformation import DeformationOperator
from hrnfit.solve.solver import Leaves


class SkinViews(NamedTuple):
    """What a stage does not move, as tensors: photographs' windows, cameras, the coarse face."""

    channels: Float[Tensor, "V 10 S S"]
    """Of `TexelSource`; beyond the window nothing is seen."""
    size: Float[Tensor, ""]
    """Of the window, px: at most S, so that windows of nearly one size share their recordings."""
    K: Float[Tensor, "V 3 3"]
    """Windows' intrinsics before `log_focal`."""
    T_cam_world: Float[Tensor, "V 4 4"]
    """Camera corrections applied."""
    frame: Int[Tensor, "V"]
    row: Int[Tensor, "V"]
    """Displacement row that each view shows."""
    coarse: Float[Tensor, "T N 3"]
    """Morphable model per frame, head frame."""
    pose_reference: Float[Tensor, "T 4 4"]
    deformation: Float[Tensor, "D D 3"]
    K_found: Float[Tensor, "V 3 3"]
    """With `log_focal`."""
    T_world_head: Float[Tensor, "T 4 4"]
    T_cam_head: Float[Tensor, "V 4 4"]
    """These as the stage found them, for leaves that stand still."""
    sliding: Float[Tensor, "3 3 D D"]
    """Of `sliding_blocks`."""


class SkinPlace(NamedTuple):
    """Vertices and texels of one set of leaves."""

    points: Float[Tensor, "V N 3"]
    """Vertices in every window, px and mm of depth."""
    K: Float[Tensor, "V 3 3"]
    T_world_head: Float[Tensor, "T 4 4"]
    T_cam_head: Float[Tensor, "V 4 4"]
    head: Float[Tensor, "F P 3"]
    normals: Float[Tensor, "F P 3"]
    """Texels and unit normals of the mid surface in the head frame: of every frame, or of every view where
    views show heights of their own."""
    of_view: Int[Tensor, "V"]
    """Which of these each view shows."""


def skin_place(
    views: SkinViews,
    leaves: Leaves,
    texels: Texels,
    operator: DeformationOperator,
    faces: Int[Tensor, "F 3"],
) -> SkinPlace:
    """The skin at leaves: `deformation` or `displacement`, `pose` and `log_focal` where they move."""
    K, T_world_head, T = views.K_found, views.T_world_head, views.T_cam_head
    if "log_focal" in leaves:
        K = focused(views.K, leaves["log_focal"])
    if "pose" in leaves:
        T_world_head = pose_matrix(leaves["pose"], views.pose_reference)
        T = views.T_cam_world @ T_world_head[views.frame]
    vertices = views.coarse + operator(leaves.get("deformation", views.deformation))
    directions, heights = vertex_normals(vertices, faces), leaves.get("displacement")
    head, normals = _surface(vertices, directions, texels, heights, views)
    of_view = views.frame if heights is None else torch.arange(len(K), device=K.device)
    points = project_frames(vertices, views.frame, K, T)
    return SkinPlace(points, K, T_world_head, T, head, normals, of_view)


def focused(K: Float[Tensor, "V 3 3"], log_focal: Float[Tensor, "V"]) -> Float[Tensor, "V 3 3"]:
    """Intrinsics with the focal length times exp(log_focal)."""
    return torch.cat([K[:, :, :2] * log_focal.exp()[:, None, None], K[:, :, 2:]], dim=2)


def _surface(
    vertices: Float[Tensor, "T N 3"],
    directions: Float[Tensor, "T N 3"],
    texels: Texels,
    heights: Float[Tensor, "K H W"] | None,
    views: SkinViews,
) -> tuple[Float[Tensor, "F P 3"], Float[Tensor, "F P 3"]]:
    """Points and unit normals of the texels: of every frame, or of every view where heights are given."""
    if has_kernels(vertices.device) and vertices.dtype == torch.float32:
        from hrnfit.energy.surface_cuda import surface_at  # local: triton

        return surface_at(vertices, directions, texels, heights, views.frame, views.row)
    normals = texels.interpolate(directions)
    normals = normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    head = texels.interpolate(vertices)
    if heights is not None:
        height = row_heights(heights, texels)[views.row]
        normals = normals[views.frame]
        head = head[views.frame] + height[..., None] * normals
    return head, normals


def row_heights(displacement: Float[Tensor, "K H W"], texels: Texels) -> Float[Tensor, "K P"]:
    """Displacement rows at the texels, bilinear, mm."""
    grid = (2.0 * texels.centres() - 1.0).to(displacement)[None, None]
    read = torch.nn.functional.grid_sample(
        displacement[None], grid, align_corners=False, padding_mode="border"
    )
    return read[0, :, 0]
