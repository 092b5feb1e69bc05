"""The functions of `skin_cuda.py` in plain torch, for any device: thin over `shared_albedo.py`."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy.shared_albedo import (
    Consensus,
    TexelSource,
    TexelViews,
    column_blocks,
    consensus,
    read_texels,
)


def read_skin(
    channels: Float[Tensor, "V 10 S S"],
    size: Float[Tensor, ""],
    K: Float[Tensor, "V 3 3"],
    motion: Float[Tensor, "V 3 4"],
    frame: Int[Tensor, "V"],
    head: Float[Tensor, "F P 3"],
    normals: Float[Tensor, "F P 3"],
    depth: Float[Tensor, "V S S"],
    compared: Float[Tensor, "P"],
) -> TexelViews:
    """`read_texels` of points of F frames (or views, see `frame`) in the head frame; the derivative is in that frame, too.

    channels: of `TexelSource`, of which `size` px a side are the window. motion: camera from head.
    compared: factor of the weights.
    """
    S, used = channels.shape[-1], int(size)
    R, t = motion[:, :, :3], motion[:, None, :, 3]
    source = TexelSource(channels[:, :, :used, :used].contiguous())
    x_cam, normals_cam = head[frame] @ R.mT + t, normals[frame] @ R.mT
    seen = read_texels(source, K, x_cam, normals_cam, depth[:, :used, :used] if used < S else depth)
    jacobian = seen.jacobian @ R[:, None]
    return replace(seen, jacobian=jacobian, weight=seen.weight * compared)


def agreement(
    texels: TexelViews, light: Float[Tensor, "V P 3"], scale: float, rounds: int = 3
) -> Consensus:
    """`consensus`."""
    return consensus(texels, light, scale, rounds)


def texel_equations(
    columns: Float[Tensor, "V P 3 k"], agreed: Consensus
) -> Float[Tensor, "kk_k P"]:
    """`column_blocks`: k k entries of the blocks, then the k of the gradient."""
    hessian, gradient, _ = column_blocks(columns, agreed)
    return torch.cat([hessian.flatten(1), gradient], dim=1).T


def slopes_along(
    jacobian: Float[Tensor, "V P 3 3"],
    normals: Float[Tensor, "F P 3"],
    of_view: Int[Tensor, "V"],
    basis: Float[Tensor, "k k"],
    shown: Int[Tensor, "V"],
) -> Float[Tensor, "V P 3 k"]:
    """Derivative of each view's colours along its normals, times the column of `basis` of the row it shows."""
    along = jacobian @ normals[of_view][..., None]
    return along * basis.T[shown].to(along)[:, None, None, :]
