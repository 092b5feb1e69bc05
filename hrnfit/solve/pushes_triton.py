# pyright: basic, reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false
# Types of Triton kernels are compiled, not written.
"""Triton kernel: the active set of a step inside bounds, in one program.

The matrix stays in registers and is swept (Goodnight 1979, "A tutorial on the SWEEP operator") at every
unknown that gets held: a sweep is one rank-1 update, and after those of a set S the block SS is -G_SS^-1
and the block FS is G_FS G_SS^-1, which is all that a stop needs. It ends as soon as nothing crosses a bound.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hrnfit.geometry.launched import kernel

MOST = 64
"""Bounded unknowns at most: 32 kB of registers in float64."""


def pushes_triton(
    inverse: Tensor, step: Tensor, lowest: Tensor, highest: Tensor, held: Tensor, stops: int
) -> tuple[Tensor, Tensor]:
    """`pushes_plain` on a device; arguments as there."""
    push, moved = torch.empty_like(step), torch.empty_like(step)
    count = len(step)
    _pushes[(1,)](
        inverse.contiguous(),
        step.contiguous(),
        lowest.contiguous(),
        highest.contiguous(),
        held.to(torch.int32),
        push,
        moved,
        count,
        stops,
        WIDTH=max(16, triton.next_power_of_2(count)),
        num_warps=8,
    )
    return push, moved


@kernel
def _pushes(inverse, steps, lows, highs, helds, pushes, moves, count, stops, WIDTH: tl.constexpr):
    i = tl.arange(0, WIDTH)
    inside = i < count
    both = inside[:, None] & inside[None, :]
    G = tl.load(inverse + i[:, None] * count + i[None, :], mask=both, other=0.0)
    step = tl.load(steps + i, mask=inside, other=0.0)
    low = tl.load(lows + i, mask=inside, other=0.0)
    high = tl.load(highs + i, mask=inside, other=0.0)
    held = tl.load(helds + i, mask=inside, other=0)
    swept = tl.zeros_like(held)
    stop = tl.zeros_like(step)
    push = tl.zeros_like(step)
    moved = step
    n = 0
    go = 1
    while (n < stops) & (go > 0):
        k = 0
        while k < count:
            fresh = tl.sum(tl.where(i == k, held - swept, 0), axis=0)
            if fresh > 0:
                row = tl.sum(tl.where(i[:, None] == k, G, 0.0), axis=0)
                column = tl.sum(tl.where(i[None, :] == k, G, 0.0), axis=1)
                pivot = tl.sum(tl.where(i == k, row, 0.0), axis=0)
                here, there = i[:, None] == k, i[None, :] == k
                G = tl.where(
                    here & there,
                    -1.0 / pivot,
                    tl.where(
                        here,
                        (row / pivot)[None, :],
                        tl.where(
                            there,
                            (column / pivot)[:, None],
                            G - column[:, None] * (row / pivot)[None, :],
                        ),
                    ),
                )
            k += 1
        swept = held
        off = tl.where(held > 0, stop - step, 0.0)
        answer = tl.sum(G * off[None, :], axis=1)
        push = tl.where(held > 0, -answer, 0.0)
        moved = tl.where(held > 0, stop, step + answer)
        beyond = inside & (held == 0) & ((moved < low) | (moved > high))
        stop = tl.where(beyond, tl.minimum(tl.maximum(moved, low), high), stop)
        held = tl.where(beyond, 1, held)
        go = tl.max(beyond.to(tl.int32), axis=0)
        n += 1
    tl.store(pushes + i, push, mask=inside)
    tl.store(moves + i, moved, mask=inside)
