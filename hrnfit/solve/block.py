"""Least-squares problems as blocks of residuals with Jacobians, and their normal equations.

A block names the unknowns it reads as slots (leaf, row) and returns residuals e with a Jacobian A
per slot. The energy is the sum of |e|^2 / 2 over all blocks. Robust blocks return e = sqrt(rho) and an A
for which A^T e is the exact gradient; solvers need not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.solve.solver import Leaves

Slot = tuple[str, int | None]
"""An unknown vector: a leaf by name, and its row, or None for the whole leaf flattened."""


@runtime_checkable
@runtime_checkable
class Block(Protocol):
    """Residuals of a few unknowns. `*B` are batch dimensions shared by all values."""

    @property
    def slots(self) -> tuple[Slot, ...]: ...

    def residual(self, *values: Float[Tensor, "*B _"]) -> Float[Tensor, "*B m"]:
        """Residuals at the slots' values, in the order of `slots`."""
        ...

    def linearize(
        self, *values: Float[Tensor, "*B _"]
    ) -> tuple[Float[Tensor, "*B m"], tuple[Float[Tensor, "*B m _"], ...]]:
        """Residuals, and their Jacobian with respect to every slot."""
        ...


@dataclass(frozen=True)
class QuadraticBlock:
    """Gaussian prior on one slot: residual (x - mean) / deviation."""

    slot: Slot
    mean: Float[Tensor, "d"]
    deviation: Float[Tensor, "d"]
    """Standard deviation of each component, in its own unit."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        return (self.slot,)

    def residual(self, *values: Tensor) -> Tensor:
        return (values[0] - self.mean) / self.deviation

    def linearize(self, *values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        jacobian = torch.diag(1.0 / self.deviation)
        return self.residual(*values), (jacobian.expand(*values[0].shape[:-1], -1, -1),)


@dataclass(frozen=True)
class NormalEquations:
    """Quadratic model of an energy around a point, over all unknowns packed into one vector."""

    energy: Float[Tensor, ""]
    """Sum of |e|^2 / 2."""
    hessian: Float[Tensor, "n n"]
    """A^T A."""
    gradient: Float[Tensor, "n"]
    """A^T e."""


@dataclass(frozen=True)
class Layout:
    """Where each leaf lies in the packed vector."""

    shapes: dict[str, tuple[int, ...]]
    offsets: dict[str, int]
    size: int

    @staticmethod
    def of(leaves: Leaves) -> Layout:
        """Leaves in their own order."""
        shapes, offsets, size = {}, {}, 0
        for name, leaf in leaves.items():
            shapes[name], offsets[name] = tuple(leaf.shape), size
            size += leaf.numel()
        return Layout(shapes, offsets, size)

    def pack(self, leaves: Leaves) -> Float[Tensor, "n"]:
        """All leaves as one vector."""
        return torch.cat([leaves[name].reshape(-1) for name in self.shapes])

    def unpack(self, vector: Float[Tensor, "n"]) -> Leaves:
        """The leaves of a packed vector."""
        sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        parts = vector.split(sizes)
        return {n: p.reshape(s) for (n, s), p in zip(self.shapes.items(), parts, strict=True)}

    def columns(self, slot: Slot) -> slice:
        """Where a slot lies in the packed vector."""
        name, row = slot
        start, size = self.offsets[name], torch.Size(self.shapes[name]).numel()
        if row is not None:
            size //= self.shapes[name][0]
            start += row * size
        return slice(start, start + size)


def slot_values(block: Block, leaves: Leaves) -> tuple[Tensor, ...]:
    """The flat vectors a block reads."""
    values = []
    for name, row in block.slots:
        if name not in leaves:
            raise ValueError(f"a block reads {name!r}, which is not free; free: {[*leaves]}")
        values.append((leaves[name] if row is None else leaves[name][row]).reshape(-1))
    return tuple(values)


def energy(blocks: Sequence[Block], leaves: Leaves) -> Float[Tensor, ""]:
    """Sum of |e|^2 / 2."""
    parts = [b.residual(*slot_values(b, leaves)).square().sum() for b in blocks]
    return 0.5 * torch.stack(parts).sum()


def normal_equations(blocks: Sequence[Block], leaves: Leaves) -> NormalEquations:
    """Accumulated block by block: each touches only the rows and columns of its own slots."""
    layout = Layout.of(leaves)
    packed = layout.pack(leaves)
    hessian = packed.new_zeros(layout.size, layout.size)
    gradient = packed.new_zeros(layout.size)
    total = packed.new_zeros(())
    for block in blocks:
        residual, jacobians = block.linearize(*slot_values(block, leaves))
        total = total + 0.5 * residual.square().sum()
        if sum(J.shape[-1] for J in jacobians) == 0:
            continue
        A = torch.cat(jacobians, -1)
        products, downhill = A.mT @ A, A.mT @ residual
        ranges = list(_ranges(layout, block.slots))
        for here, there in ranges:
            gradient[there] += downhill[here]
            for here_too, there_too in ranges:
                hessian[there, there_too] += products[here, here_too]
    return NormalEquations(total, hessian, gradient)


def _ranges(layout: Layout, slots: Sequence[Slot]) -> Iterator[tuple[slice, slice]]:
    """Columns of each slot within its block, and within the packed vector."""
    start = 0
    for slot in slots:
        there = layout.columns(slot)
        stop = start + there.stop - there.start
        yield slice(start, stop), there
        start = stop
