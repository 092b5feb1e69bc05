"""Rotation vectors and poses on a device, one launch each: the functions of `rotation.py`, which are 40 to 70 small
ones there, 0.3 ms of a host's time. Without derivatives. Imported only where a CUDA device is used.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry import turn_kernels as kernels
from hrnfit.geometry.launched import blocks

BLOCK = 32


def device_turns(
    vectors: Float[Tensor, "*B 3"], below: float
) -> tuple[Float[Tensor, "*B 3 3"], Float[Tensor, "*B 3 3"]]:
    """`rotation_with_jacobian`. below: squared angle under which series are taken, rad^2."""
    vectors = vectors.contiguous()
    rotation = vectors.new_empty(*vectors.shape, 3)
    jacobian = torch.empty_like(rotation)
    count = vectors.numel() // 3
    if count:
        kernels.turns[blocks(count, BLOCK)](
            vectors, rotation, jacobian, count, below, BLOCK=BLOCK, num_warps=1
        )
    return rotation, jacobian


def device_poses(
    tangents: Float[Tensor, "*#B 6"], references: Float[Tensor, "*#B 4 4"], below: float
) -> Float[Tensor, "*#B 4 4"]:
    """`pose_matrix`."""
    batch = torch.broadcast_shapes(tangents.shape[:-1], references.shape[:-2])
    tangents = tangents.expand(*batch, 6).contiguous()
    references = references.expand(*batch, 4, 4).contiguous()
    out = torch.empty_like(references)
    count = tangents.numel() // 6
    if count:
        kernels.poses[blocks(count, BLOCK)](
            tangents, references, out, count, below, BLOCK=BLOCK, num_warps=1
        )
    return out
