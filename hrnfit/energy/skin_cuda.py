"""The shared albedo by Triton kernels: the functions of `shared_albedo.py` for a CUDA device, float32.

Fixed launches, nothing read by the host. Imported only where a CUDA device is used.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.energy import skin_kernels
from hrnfit.energy.shared_albedo import (
    LEAST_COSINE,
    OCCLUSION_MARGIN,
    Consensus,
    TexelViews,
)
from hrnfit.energy.surface_cuda import planar, slopes_along
from hrnfit.geometry.launched import blocks, width_of

__all__ = ["agreement", "read_skin", "slopes_along", "texel_equations"]


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
    V, S = len(channels), channels.shape[-1]
    P = head.shape[1]
    colour, jacobian = channels.new_empty(V, 3, P), channels.new_empty(V, 3, 3, P)
    weight = channels.new_empty(V, P)
    block = width_of(128)
    skin_kernels.read[(*blocks(P, block), V)](
        channels.contiguous(), K.contiguous(), motion.contiguous(), frame.contiguous(),
        head.contiguous(), normals.contiguous(), depth.contiguous(), compared.contiguous(),
        colour, jacobian, weight, P, S, size, LEAST_COSINE, OCCLUSION_MARGIN,
        BLOCK=block,
    )  # fmt: skip
    return TexelViews(colour.movedim(-1, 1), jacobian.movedim(-1, 1), weight)


def agreement(
    texels: TexelViews, light: Float[Tensor, "V P 3"], scale: float, rounds: int = 3
) -> Consensus:
    """`consensus`."""
    V, P = texels.weight.shape
    mean, residual = texels.colour.new_empty(3, P), texels.colour.new_empty(V, 3, P)
    weight = texels.weight.new_empty(V, P)
    padded = 1 << (V - 1).bit_length()
    block = width_of(128 if padded <= 8 else 64)
    grid = blocks(P, block)
    sums = torch.empty(*grid, 2, dtype=torch.float64, device=weight.device)
    skin_kernels.agree[grid](
        planar(texels.colour), planar(light), texels.weight.contiguous(), mean, residual, weight, sums, V, P, scale,
        VP=padded, ROUNDS=rounds, BLOCK=block,
    )  # fmt: skip
    energy, seen = (weight.new_empty(()) for _ in range(2))
    skin_kernels.settled[(1,)](sums, energy, seen, len(sums), BLOCK=1024)
    return Consensus(mean.T, residual.movedim(-1, 1), weight, energy, seen)


def texel_equations(
    columns: Float[Tensor, "V P 3 k"], agreed: Consensus
) -> Float[Tensor, "kk_k P"]:
    """`column_blocks`: k k entries of the blocks, then the k of the gradient."""
    V, P, _, k = columns.shape
    out = columns.new_empty(k * k + k, P)
    wide, views = 1 << (k - 1).bit_length(), 1 << (V - 1).bit_length()
    block = width_of(128)
    skin_kernels.blocks[blocks(P, block)](
        planar(columns), planar(agreed.residual), agreed.weight.contiguous(), agreed.seen,
        out, V, P, K=k, KP=wide, VP=views, BLOCK=block,
    )  # fmt: skip
    return out
