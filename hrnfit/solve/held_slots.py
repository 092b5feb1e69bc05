"""A block of which some unknowns are given: what is left reads the free ones alone.

The given values may carry gradients; solvers that are differentiated pass them on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from hrnfit.solve.block import Block, Slot


@dataclass(frozen=True)
class HeldSlots:
    """A block with some of its slots at fixed values."""

    block: Block
    held: Mapping[Slot, Float[Tensor, "_"]]
    """Flat value of each slot that is not free."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The free slots, in the block's order."""
        return tuple(slot for slot in self.block.slots if slot not in self.held)

    def residual(self, *values: Float[Tensor, "*B _"]) -> Float[Tensor, "*B m"]:
        """Residuals at the free slots' values."""
        return self.block.residual(*self._all(values))

    def linearize(
        self, *values: Float[Tensor, "*B _"]
    ) -> tuple[Float[Tensor, "*B m"], tuple[Float[Tensor, "*B m _"], ...]]:
        """Residuals, and the Jacobians of the free slots."""
        residual, jacobians = self.block.linearize(*self._all(values))
        pairs = zip(self.block.slots, jacobians, strict=True)
        return residual, tuple(J for slot, J in pairs if slot not in self.held)

    def _all(self, values: tuple[Tensor, ...]) -> list[Tensor]:
        """Values of all slots of the block, free and held."""
        free, batch = iter(values), values[0].shape[:-1]
        return [
            self.held[slot].expand(*batch, -1) if slot in self.held else next(free)
            for slot in self.block.slots
        ]
