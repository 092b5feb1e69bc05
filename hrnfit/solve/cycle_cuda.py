"""The operations of `stencil.py` and `multigrid.py` by Triton kernels: a product is one launch instead of 77.

Fixed launches, nothing read by the host; the laws and the tests' reference stand there. Imported only where a
CUDA device is used.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.launched import width_of
from hrnfit.solve import stencil_kernels
from hrnfit.solve.chebyshev import Chebyshev
from hrnfit.solve.stencil import Stencil


def _block(nodes: int, k: int) -> int:
    """Nodes per program: enough programs to fill the device."""
    return width_of(32 if nodes <= 8192 or k > 4 else 128)


def _grid(nodes: int, block: int, sides: int) -> tuple[int, int]:
    return ((nodes + block - 1) // block, sides)


def sizes_of(stencil: Stencil) -> dict[str, int]:
    """What every kernel that reads a stencil is told of its shape."""
    if not (stencil.blocks.is_contiguous() and stencil.form.is_contiguous()):
        raise ValueError("stencil: expected contiguous blocks and form; take Stencil.to(dtype)")
    count, k = stencil.blocks.shape[:2]
    H, W = stencil.form.shape[1:]
    return {
        "H": H,
        "W": W,
        "K": k,
        "KP": 1 << (k - 1).bit_length(),
        "REACH": 1 if count == 9 else 2,
        "BLOCK": _block(H * W, k),
    }


def product(stencil: Stencil, maps: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k H W"]:
    """`Stencil.__call__`."""
    maps = maps.contiguous()
    out, sizes = torch.empty_like(maps), sizes_of(stencil)
    grid = _grid(sizes["H"] * sizes["W"], sizes["BLOCK"], len(maps))
    stencil_kernels.product[grid](
        stencil.blocks, stencil.form, maps, out, **sizes, num_warps=warps_of(sizes)
    )
    return out


def residual(stencil: Stencil, right: Tensor, maps: Tensor) -> Float[Tensor, "c k H W"]:
    """right - A maps, float32."""
    right, maps = right.contiguous(), maps.contiguous()
    out, sizes = torch.empty_like(maps), sizes_of(stencil)
    grid = _grid(sizes["H"] * sizes["W"], sizes["BLOCK"], len(maps))
    stencil_kernels.residual[grid](
        stencil.blocks, stencil.form, right, maps, out, **sizes, num_warps=warps_of(sizes)
    )
    return out


def smoothed(
    stencil: Stencil, inverse: Tensor, right: Tensor, start: Tensor | None, rule: Chebyshev
) -> Float[Tensor, "c k H W"]:
    """`multigrid.smoothed`."""
    right, sizes = right.contiguous(), sizes_of(stencil)
    inverse = inverse.contiguous()
    start = None if start is None else start.contiguous()
    grid = _grid(sizes["H"] * sizes["W"], sizes["BLOCK"], len(right))
    move, out = torch.empty_like(right), torch.empty_like(right)
    warps = warps_of(sizes)
    if start is None:
        own = {key: sizes[key] for key in ("H", "W", "K", "KP", "BLOCK")}
        stencil_kernels.jacobi[grid](inverse, right, move, rule.first, **own, num_warps=warps)
        there = move
    else:
        there = torch.empty_like(right)
        stencil_kernels.step[grid](
            stencil.blocks, stencil.form, inverse, right, start, move, there, move, 0.0, rule.first,
            **sizes, FIRST=True, num_warps=warps,
        )  # fmt: skip
    stencil_kernels.step[grid](
        stencil.blocks, stencil.form, inverse, right, there, move, out, move, rule.keep, rule.second,
        **sizes, FIRST=False, num_warps=warps,
    )  # fmt: skip
    return out


def restricted(fine: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k h w"]:
    """Transpose of `prolonged`."""
    fine, (H, W) = fine.contiguous(), fine.shape[-2:]
    h, w = (H + 1) // 2, (W + 1) // 2
    out = fine.new_empty(*fine.shape[:2], h, w)
    block = _block(h * w, 1)
    grid = _grid(h * w, block, out.shape[0] * out.shape[1])
    stencil_kernels.restrict[grid](fine, out, H, W, h, w, BLOCK=block, num_warps=1)
    return out


def prolonged(
    coarse: Float[Tensor, "c k h w"], maps: Float[Tensor, "c k H W"]
) -> Float[Tensor, "c k H W"]:
    """maps plus the interpolated coarse ones."""
    (h, w), (H, W) = coarse.shape[-2:], maps.shape[-2:]
    coarse, maps = coarse.contiguous(), maps.contiguous()
    out = torch.empty_like(maps)
    block = _block(H * W, 1)
    grid = _grid(H * W, block, maps.shape[0] * maps.shape[1])
    stencil_kernels.prolong[grid](coarse, maps, out, h, w, H, W, BLOCK=block, num_warps=1)
    return out


def solved_densely(inverse: Float[Tensor, "m m"], right: Tensor) -> Float[Tensor, "c k h w"]:
    """The dense inverse times every side."""
    m, inverse, right = len(inverse), inverse.contiguous(), right.contiguous()
    out = torch.empty_like(right)
    stencil_kernels.dense[(len(right),)](inverse, right, out, m, MP=1 << (m - 1).bit_length())
    return out


def inverted(blocks: Float[Tensor, "k k H W"]) -> Float[Tensor, "k k H W"]:
    """`multigrid.inverted`."""
    blocks = blocks.contiguous()
    out, k = torch.empty_like(blocks), len(blocks)
    nodes = blocks.shape[2] * blocks.shape[3]
    block = width_of(32)
    stencil_kernels.invert[_grid(nodes, block, 1)](
        blocks, out, nodes, K=k, KP=1 << (k - 1).bit_length(), BLOCK=block, num_warps=1
    )
    return out


def warps_of(sizes: dict[str, int]) -> int:
    return max(1, min(4, sizes["BLOCK"] * sizes["KP"] // 64))
