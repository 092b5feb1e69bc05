"""The weighted total of energies whose kernels also write their gradients, as one `torch.autograd.Function`.

Energies that read the same tensor form a group: one launch computes them, and one more scales their gradient once the
validities are summed. First derivatives only. Memory: each group's gradients, from the forward to the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrnfit.energy import mean_kernels
from hrnfit.geometry.kept import kept_for_good, kept_lately
from hrnfit.geometry.launched import blocks, width_of


@dataclass(frozen=True)
class Weighted:
    """A term as the total has it."""

    name: str
    kernel: str
    """Robust kernel, of `energy.kernel.KERNELS`."""
    factor: float
    """Weight of its energy in the total."""


@dataclass(frozen=True, eq=False)
class Group:
    """Energies of one tensor."""

    terms: tuple[Weighted, ...]
    read: Tensor
    """What is differentiated, contiguous."""
    parts: int
    """Programs of the launch, each of which writes its part of every energy."""
    weighed: tuple[bool, ...]
    """Per term: whether its energy is still to be divided by its validity, of which parts are written too."""
    gradients: Callable[[], Tensor]
    """Makes what the launch writes gradients to."""
    launch: Callable[[Tensor, Tensor], None]
    """Given that, and the parts to write: (terms, 2, P), of energy and of validity."""
    spread: Callable[[Tensor, Tensor, Tensor, Tensor], None]
    """Given those gradients, the total's gradient (), per term its factor over its validity, and the gradient of
    `read` to write."""


def fused_total(
    groups: Sequence[Group],
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Weighted sum of all energies, and each of them by the name of its term, without derivative."""
    names = [term.name for group in groups for term in group.terms]
    total, energies = _Total.apply(groups, *(group.read for group in groups))
    return total, dict(zip(names, energies.unbind(), strict=True))


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, groups: Sequence[Group], *reads: Tensor) -> tuple[Tensor, Tensor]:
        like, terms = reads[0], [term for group in groups for term in group.terms]
        layout, size = _layout_of(groups)
        sums, found = like.new_empty(size), like.new_empty(2 * len(terms) + 1)
        grads, start = [], 0
        for group in groups:
            shape = (len(group.terms), 2, group.parts)
            grad, own = group.gradients(), sums[start : start + 2 * len(group.terms) * group.parts]
            group.launch(grad, own.view(shape))
            grads.append(grad)
            start += own.numel()
        factors = _factors(tuple(term.factor for term in terms), like.dtype, like.device)
        mean_kernels.means[(len(terms),)](
            sums, _table(layout, like.device), factors, found, BLOCK=width_of(2048), num_warps=8
        )
        mean_kernels.weighed_sum[(1,)](
            found, factors, len(terms), BLOCK=1 << (len(terms) - 1).bit_length(), num_warps=1
        )
        ctx.groups = [(group.spread, len(group.terms)) for group in groups]
        ctx.save_for_backward(found, *grads)
        ctx.shapes = [read.shape for read in reads]
        energies, total = found[: len(terms)], found[2 * len(terms)]
        ctx.mark_non_differentiable(energies)
        return total, energies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_total: Tensor, _energies: Tensor):  # type: ignore[override]
        found, *grads = ctx.saved_tensors
        at, out = (len(found) - 1) // 2, []
        given = zip(ctx.groups, grads, ctx.shapes, ctx.needs_input_grad[1:], strict=True)
        for (spread, terms), grad, shape, needed in given:
            by_read = grad.new_empty(shape) if needed else None
            if by_read is not None and by_read.numel():
                spread(grad, by_total, found[at : at + terms], by_read)
            out.append(by_read)
            at += terms
        return None, *out


def scaled(grad: Tensor, by_total: Tensor, _shares: Tensor, out: Tensor) -> None:
    """A gradient that has its terms' factors already."""
    block = width_of(1024)
    mean_kernels.scale[blocks(out.numel(), block)](
        grad, by_total, by_total, out, out.numel(), SHARED=False, BLOCK=block
    )


def shared(grad: Tensor, by_total: Tensor, shares: Tensor, out: Tensor) -> None:
    """The gradient of a single term, over its validity."""
    block = width_of(1024)
    mean_kernels.scale[blocks(out.numel(), block)](
        grad, by_total, shares, out, out.numel(), SHARED=True, BLOCK=block
    )


def summed(grad: Tensor, by_total: Tensor, shares: Tensor, out: Tensor) -> None:
    """The gradients of two terms (2, *R), each over its validity."""
    block = width_of(1024)
    mean_kernels.scale_two[blocks(out.numel(), block)](
        grad, by_total, shares, out, out.numel(), BLOCK=block
    )


def _layout_of(groups: Sequence[Group]) -> tuple[tuple[int, ...], int]:
    """Per term where its parts begin, their number, and whether they are weighed; and how many numbers there are."""
    layout, start = [], 0
    for group in groups:
        for weighed in group.weighed:
            layout += [start, group.parts, int(weighed)]
            start += 2 * group.parts
    return tuple(layout), start


@kept_for_good
def _table(layout: tuple[int, ...], device: torch.device) -> Tensor:
    """A layout on a device, copied there once: a recorded computation cannot."""
    return torch.tensor(layout, dtype=torch.int32, device=device)


@kept_lately(most=64)
def _factors(factors: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Factors on a device. Those of annealed weights are others at every step."""
    return torch.tensor(factors, dtype=dtype, device=device)
