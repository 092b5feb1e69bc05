"""Adam whose step is one recording: energy, gradient and update are replayed without the host.

Leaves, moments and the number of the step are buffers that the recorded step moves in place. What depends
on the number of the step (schedule and bias correction) is a table made before, of which each step
reads its row.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.geometry.device_kernels import has_kernels
from hrnfit.solve.loop import Energy, Evaluated
from hrnfit.solve.recorded import Recording, recording
from hrnfit.solve.solver import Leaves

EPSILON = 1e-8
"""Added to the root of the second moment, as in `torch.optim.Adam`."""


@dataclass(frozen=True)
class NamedEnergy:
    """An energy that can be recorded: a function of leaves and of all else that may differ between two
    solves, with a name for what may not."""

    key: Hashable
    """Names the function, and everything that it holds."""
    function: Callable[[Leaves, Mapping[str, Tensor]], Evaluated]
    """Of leaves and inputs. It looks at no value on the host."""
    inputs: Mapping[str, Tensor]
    terms: tuple[str, ...]
    """Names of the terms that it returns, in order."""

    def __call__(self, leaves: Leaves) -> Evaluated:
        return self.function(leaves, self.inputs)


@dataclass(frozen=True)
class RateTable:
    """Adam's rates before the solve begins."""

    first: tuple[float, ...]
    """Rate per leaf, in its unit."""
    factors: tuple[float, ...]
    """Factor of the schedule on all rates, per step."""
    betas: tuple[float, float]

    def rows(self, begun: int, shrink: float) -> Float[Tensor, "S L1"]:
        """Per step since `begun`: each leaf's rate over the bias correction of the first moment, and the root
        of the correction of the second. float64, on the CPU; rows beyond the last step repeat it."""
        first, second = self.betas
        rows = []
        for k in range(len(self.factors)):
            factor = self.factors[min(begun + k, len(self.factors) - 1)] * shrink
            correction = 1.0 - first ** (k + 1)
            rates = [rate * factor / correction for rate in self.first]
            rows.append([*rates, (1.0 - second ** (k + 1)) ** 0.5])
        return torch.tensor(rows, dtype=torch.float64)


class RecordedAdam:
    """A stepper of `solve.loop` on CUDA, equal to `torch.optim.Adam` but for rounding."""

    def __init__(self, rates: RateTable, energy: NamedEnergy) -> None:
        self.rates, self.energy = rates, energy
        self.fresh = True

    def begin(self, leaves: Leaves, shrink: float) -> Leaves:
        self.shrink, self.fresh = shrink, True
        values = [leaf.detach().contiguous() for leaf in leaves.values()]
        zeros = [torch.zeros_like(leaf) for leaf in values]
        self.names = tuple(leaves)
        table = self._table(0, values[0])
        step = torch.zeros(1, dtype=torch.int64, device=table.device)
        inputs = (*values, *zeros, *zeros, table, step, *self.energy.inputs.values())
        self.recording = self._recorded(inputs)
        self.recording.load(inputs)
        return dict(zip(self.names, self.recording.inputs, strict=False))

    def advance(self, energy: Energy, fraction: float) -> Evaluated:
        if self.fresh:
            begun = round(fraction * len(self.rates.factors))
            self._buffers()[0].copy_(self._table(begun, self.recording.inputs[0]))
            self.fresh = False
        (energies,) = self.recording.again()
        total, *terms = energies.unbind()
        return total, dict(zip(self.energy.terms, terms, strict=True))

    def look(self, energy: Energy) -> Tensor:
        """By one more step, whose moves are taken back."""
        state = self.recording.inputs[: 3 * len(self.names) + 2]
        before = [buffer.clone() for buffer in state]
        (energies,) = self.recording.again()
        for buffer, value in zip(state, before, strict=True):
            buffer.copy_(value)
        return energies[0]

    def _buffers(self) -> tuple[Tensor, Tensor]:
        """Of the table and of the step's number."""
        at = 3 * len(self.names)
        return self.recording.inputs[at], self.recording.inputs[at + 1]

    def _table(self, begun: int, like: Tensor) -> Tensor:
        return self.rates.rows(begun, self.shrink).to(like.device, like.dtype)

    def _recorded(self, inputs: tuple[Tensor, ...]) -> Recording:
        """The step, kept under the energy's name, the leaves and the betas."""
        names, given, function = self.names, tuple(self.energy.inputs), self.energy.function
        betas, n = self.rates.betas, len(self.names)

        def step(*buffers: Tensor) -> tuple[Tensor]:
            leaves = {
                name: x.detach().requires_grad_() for name, x in zip(names, buffers, strict=False)
            }
            total, terms = function(leaves, dict(zip(given, buffers[3 * n + 2 :], strict=True)))
            found = torch.autograd.grad(
                total, list(leaves.values()), allow_unused=True, materialize_grads=True
            )
            table, count = buffers[3 * n : 3 * n + 2]
            move = zip(buffers[:n], buffers[n : 2 * n], buffers[2 * n : 3 * n], found, strict=True)
            with torch.no_grad():
                for column, (leaf, first, second, grad) in enumerate(move):
                    adam_update(leaf, first, second, grad, table, count, column, betas)
                count.add_(1)
            return (torch.stack([total.detach(), *terms.values()]),)

        return recording((self.energy.key, names, betas), step, inputs)


def adam_update(
    leaf: Float[Tensor, "*L"],
    first: Float[Tensor, "*L"],
    second: Float[Tensor, "*L"],
    grad: Float[Tensor, "*L"],
    table: Float[Tensor, "S L1"],
    step: Int[Tensor, "1"],
    column: int,
    betas: tuple[float, float],
) -> None:
    """Adam's step of one leaf in place, with the rates of the table's row `step`; one launch on CUDA."""
    if not has_kernels(leaf.device):
        return plain_update(leaf, first, second, grad, table, step, column, betas)
    from hrnfit.solve.fused_adam import fused_update  # local: triton

    return fused_update(leaf, first, second, grad, table, step, column, betas)


def plain_update(
    leaf: Tensor,
    first: Tensor,
    second: Tensor,
    grad: Tensor,
    table: Tensor,
    step: Tensor,
    column: int,
    betas: tuple[float, float],
) -> None:
    """`adam_update` in plain torch (Kingma & Ba 2015, alg. 1)."""
    row = table.index_select(0, step.clamp_max(len(table) - 1))[0]
    first.lerp_(grad, 1.0 - betas[0])
    second.mul_(betas[1]).addcmul_(grad, grad, value=1.0 - betas[1])
    leaf.sub_(row[column] * first / (second.sqrt() / row[-1] + EPSILON))
