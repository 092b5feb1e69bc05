"""A multigrid cycle by Triton kernels: `Multigrid` on a CUDA device, its last levels in one launch where they are small.

Fixed launches, nothing read by the host; the laws and the tests' reference stand in `multigrid.py`. Imported only
where a CUDA device is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.geometry.launched import width_of
from hrnfit.solve import cycle_kernels, stencil_kernels
from hrnfit.solve.chebyshev import Chebyshev
from hrnfit.solve.stencil import Stencil

MOST = 2**13
"""Padded entries of a stencil that one program keeps in its registers: that of 16 x 16 x 1, say, whose cycle takes 8 us of
an H100 instead of 16 with entries read for every product. That of 8 x 8 x 3, four times as much, spills: 32 us, and 13
in launches of its own."""


@dataclass(frozen=True)
class CudaLevel:
    """One level of many nodes, float32."""

    blocks: Float[Tensor, "O k k H W"]
    form: Float[Tensor, "25 H W"] | None
    """None below the finest level, whose form is part of the blocks."""
    inverse: Float[Tensor, "k k H W"]
    """Of the node blocks."""
    rule: Chebyshev


@dataclass(frozen=True)
class Bottom:
    """The coarsest level, and the one above it if it is small."""

    level: CudaLevel | None
    coarsest: Float[Tensor, "m m"]
    """Dense inverse, unknowns in the order (channel, row, column)."""

    def __call__(self, right: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k H W"]:
        """An approximate solution for each side."""
        (c, k, H, W), M = right.shape, len(self.coarsest)
        out, wide = torch.empty_like(right), padded(M)
        if self.level is None:
            cycle_kernels.dense[(c,)](self.coarsest, right, out, M, MP=wide)
            return out
        room = right.new_empty(c, 2 * padded(k) * (H + 4) * (W + 4) + k * H * W + 2 * wide)
        rule = self.level.rule
        cycle_kernels.bottom[(c,)](
            self.level.blocks, self.level.inverse, self.coarsest, right, room, out,
            rule.first, rule.keep, rule.second,
            H=H, W=W, K=k, KP=padded(k), NP=padded(H * W), MP=wide,
            num_warps=8,
        )  # fmt: skip
        return out


@dataclass(frozen=True)
class CudaMultigrid:
    """`Multigrid`, with the operator that it was made for."""

    body: Stencil
    """Float64."""
    levels: tuple[CudaLevel, ...]
    """Finest first, but those of `bottom`."""
    bottom: Bottom

    def __call__(self, right: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k H W"]:
        """As `Multigrid`."""
        start = right
        if self.levels:
            level = self.levels[0]
            start = level.rule.first * (level.inverse * right[:, None]).sum(2)
        return self.begun(right.contiguous(), start.contiguous())

    def begun(
        self,
        right: Float[Tensor, "c k H W"],
        start: Float[Tensor, "c k H W"],
        rest: Float[Tensor, "c k H W"] | None = None,
        energy: Float[Tensor, "c G"] | None = None,
    ) -> Float[Tensor, "c k H W"]:
        """A cycle after the finest level's first step from zero, `start`; not read where that belongs to `bottom`. Leaves the
        product of the solution with `rest` in parts, as many as `programs` has."""
        return self._cycle(0, right, start, rest, energy)

    def _cycle(
        self, i: int, right: Tensor, start: Tensor, rest: Tensor | None, energy: Tensor | None
    ) -> Tensor:
        if i == len(self.levels):
            return self.bottom(right)
        level, rule = self.levels[i], self.levels[i].rule
        there = _smoothed(level, "second", right, start, start, start, rule.keep, rule.second)
        below = self.levels[i + 1] if i + 1 < len(self.levels) else None
        pulled, begun = _restricted(_residual(level, right, there), below)
        coarse = self._cycle(i + 1, pulled, begun, None, None)
        move = torch.empty_like(right)
        there = _smoothed(level, "first", right, there, move, coarse, 0.0, rule.first)
        if rest is None or energy is None:
            return _smoothed(level, "second", right, there, move, there, rule.keep, rule.second)
        return _smoothed(
            level, "last", right, there, move, there, rule.keep, rule.second, rest, energy
        )


def padded(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()


def in_registers(blocks: Float[Tensor, "O k k H W"]) -> bool:
    """Whether one program keeps a stencil of 25 offsets in its registers."""
    _, k, _, H, W = blocks.shape
    return 32 * padded(k) ** 2 * padded(H * W) <= MOST


def reach(blocks: Float[Tensor, "O k k H W"]) -> int:
    """Nodes that a stencil's blocks reach to each side."""
    return 1 if len(blocks) == 9 else 2


def nodes_at_once(nodes: int, values: int, most: int) -> int:
    """Nodes of a program that holds so many values of each: few of them where a level has few, so that all
    of the device has work."""
    few = 8 if nodes <= 1024 else 16 if nodes <= 8192 else 128
    return min(width_of(max(4, min(few, most // padded(values)))), max(16, padded(nodes)))


def sizes_of(blocks: Float[Tensor, "O k k H W"]) -> dict[str, int]:
    """What every kernel that reads a stencil is told of its shape."""
    if not blocks.is_contiguous():
        raise ValueError("stencil: expected contiguous blocks and form; take Stencil.to(dtype)")
    k, _, H, W = blocks.shape[1:]
    return {
        "H": H,
        "W": W,
        "K": k,
        "KP": padded(k),
        "REACH": reach(blocks),
        "BLOCK": nodes_at_once(H * W, k, 64),
    }


def programs(blocks: Float[Tensor, "O k k H W"]) -> int:
    """Of each side, in kernels that read a stencil."""
    sizes = sizes_of(blocks)
    return -(-sizes["H"] * sizes["W"] // sizes["BLOCK"])


def product(stencil: Stencil, maps: Float[Tensor, "c k H W"]) -> Float[Tensor, "c k H W"]:
    """`Stencil.__call__`."""
    maps, form = maps.contiguous(), stencil.form.contiguous()
    out = torch.empty_like(maps)
    stencil_kernels.product[(programs(stencil.blocks), len(maps))](
        stencil.blocks, form, maps, out, **sizes_of(stencil.blocks)
    )
    return out


def _smoothed(
    level: CudaLevel,
    kind: str,
    right: Tensor,
    x: Tensor,
    move: Tensor,
    coarse: Tensor,
    keep: float,
    share: float,
    rest: Tensor | None = None,
    energy: Tensor | None = None,
) -> Tensor:
    """A step of the smoother; see `cycle_kernels.smooth`. What a kind does not read or write is any tensor."""
    out, blocks = torch.empty_like(x), level.blocks
    cycle_kernels.smooth[(programs(blocks), len(x))](
        blocks, blocks if level.form is None else level.form, level.inverse, right, x, coarse, move,
        out, move, x if rest is None else rest, x if energy is None else energy, keep, share,
        **sizes_of(blocks), FORMED=level.form is not None, KIND=kind,
    )  # fmt: skip
    return out


def _residual(level: CudaLevel, right: Tensor, x: Tensor) -> Tensor:
    """right - A x."""
    out, blocks = torch.empty_like(x), level.blocks
    cycle_kernels.residual[(programs(blocks), len(x))](
        blocks, blocks if level.form is None else level.form, right, x, out,
        **sizes_of(blocks), FORMED=level.form is not None,
    )  # fmt: skip
    return out


def _restricted(fine: Tensor, below: CudaLevel | None) -> tuple[Tensor, Tensor]:
    """Right-hand sides of the next level, and its first step from zero unless it belongs to the bottom."""
    c, k, H, W = fine.shape
    h, w = (H + 1) // 2, (W + 1) // 2
    out, start = (fine.new_empty(c, k, h, w) for _ in range(2))
    block = nodes_at_once(h * w, k, 64)
    cycle_kernels.restrict[(-(-h * w // block), c)](
        fine, fine if below is None else below.inverse, out, start,
        0.0 if below is None else below.rule.first, H, W,
        K=k, KP=padded(k), BLOCK=block, BEGUN=below is not None,
    )  # fmt: skip
    return out, start
