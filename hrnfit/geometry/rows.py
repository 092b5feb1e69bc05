"""Sparse rows with constant weights, and pinhole projection of points that several views share.

A row is a weighted sum of a few rows of the input: a map sampled at vertices, vertices sampled at texels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.device_kernels import has_kernels


def weighted_rows(
    values: Float[Tensor, "*B M C"], index: Int[Tensor, "N K"], weights: Float[Tensor, "N K"]
) -> Float[Tensor, "*B N C"]:
    """Weighted sums of rows of `values`, of which `index` names K per result; differentiable in the values."""
    if has_kernels(values.device):
        from hrnfit.geometry.mesh_cuda import cuda_rows  # local: triton

        return cuda_rows(values, index, weights)
    return plain_rows(values, index, weights)


def plain_rows(
    values: Float[Tensor, "*B M C"], index: Int[Tensor, "N K"], weights: Float[Tensor, "N K"]
) -> Float[Tensor, "*B N C"]:
    """`weighted_rows` in plain torch, for any device."""
    return (values[..., index.long(), :] * weights[..., None]).sum(dim=-2)


def by_row(values: Float[Tensor, "*B C"]) -> tuple[Float[Tensor, "*B C"], int]:
    """The values with rows that lie evenly in memory, and their distance there: wider rows of which some columns are
    taken stay where they are, anything else is copied."""
    stride, even = values.stride(-2), 1
    for size, step in zip(values.shape[-2::-1], values.stride()[-2::-1], strict=True):
        if values.stride(-1) != 1 or (size > 1 and step != stride * even):
            return values.contiguous(), values.shape[-1]
        even *= size
    return values, stride


def project_frames(
    x_world: Float[Tensor, "T N 3"],
    frame: Int[Tensor, "V"],
    K: Float[Tensor, "V 3 3"],
    T_cam_world: Float[Tensor, "V 4 4"],
) -> Float[Tensor, "V N 3"]:
    """Points of each view's frame as x, y px and camera depth mm."""
    if has_kernels(x_world.device) and not (K.requires_grad or T_cam_world.requires_grad):
        from hrnfit.geometry.mesh_cuda import cuda_project  # local: triton

        return cuda_project(x_world, frame.to(x_world.device), K, T_cam_world)
    return project_views(x_world[frame], K, T_cam_world)


def project_views(
    x_world: Float[Tensor, "V N 3"],
    K: Float[Tensor, "V 3 3"],
    T_cam_world: Float[Tensor, "V 4 4"],
) -> Float[Tensor, "V N 3"]:
    """World points per view as x, y px and camera depth mm."""
    x_cam = x_world @ T_cam_world[:, :3, :3].mT + T_cam_world[:, None, :3, 3]
    depth = x_cam[..., 2:]
    pixels = (x_cam / depth) @ K[:, :2].mT
    return torch.cat([pixels, depth], dim=-1)
