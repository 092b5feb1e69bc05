"""Derivatives that autograd alone does not give.

Dense Jacobians by forward mode: one pass per unknown, whatever the number of values. Compiled functions
whose derivative is differentiated again: by their plain formula. Values that an energy holds while it
is differentiated (weights of pixels, the width of a pixel): constants of a step, but not of the chain
of steps, so a solve that is differentiated as a whole records them first and replays them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import jvp, vmap  # type: ignore[reportPrivateImportUsage]

from hrnfit.quiet import without_warnings


@cache
def _load_forward_mode() -> None:
    """Load torch's forward mode once: recent versions warn of their own TorchScript while doing so."""
    with without_warnings(), forward_ad.dual_level():
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


def forward_jacobian(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "n"], columns_at_once: int = 16
) -> tuple[Float[Tensor, "m"], Float[Tensor, "m n"]]:
    """Value and dense Jacobian of a vector function, in chunks of columns."""
    _load_forward_mode()

    def column(direction: Tensor) -> tuple[Tensor, Tensor]:
        value, tangent, *_ = jvp(function, (x,), (direction,))
        return value, tangent

    directions = torch.eye(x.numel(), dtype=x.dtype, device=x.device)
    if columns_at_once == 1:
        pairs = [column(direction) for direction in directions]
        return pairs[0][0], torch.stack([tangent for _, tangent in pairs], -1)
    value, columns = function(x), []
    for chunk in directions.split(columns_at_once):
        columns.append(vmap(column)(chunk)[1])
    return value, torch.cat(columns).mT


def plain_backward(
    plain: Callable[..., Tensor], inputs: Sequence[Tensor], needed: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Derivative of a compiled function that can itself be differentiated, from its plain formula.

    For the `backward` of a `torch.autograd.Function`, which runs with gradients enabled just when its
    own result will be differentiated. inputs: as saved; needed: which of them want a derivative.
    """
    # aliases: one input may be a function of another, and each derivative is of its own place alone
    own = [x.view_as(x) for x in inputs]
    wanted = [x for x, need in zip(own, needed, strict=True) if need]
    found = iter(torch.autograd.grad(plain(*own), wanted, grad, create_graph=True))
    return tuple(next(found) if need else None for need in needed)


_RECORD: ContextVar[list[Tensor] | None] = ContextVar("record", default=None)
_REPLAY: ContextVar[Iterator[Tensor] | None] = ContextVar("replay", default=None)


def held(compute: Callable[[], Tensor]) -> Tensor:
    """A value that an energy treats as a constant of its derivative, but inside `recorded` and `replayed`.

    Computed with gradients and then cut off: what it reads of a lazy prediction is kept there, and read
    first without gradients it would have none for the terms that follow.
    """
    replay, record = _REPLAY.get(), _RECORD.get()
    if replay is not None:
        return next(replay)
    if record is None:
        return compute().detach()
    record.append(compute())
    return record[-1]  # one held value may be made of another


@contextmanager
def recorded() -> Iterator[list[Tensor]]:
    """Within it every held value keeps its own derivative, and is put into the list."""
    values: list[Tensor] = []
    token = _RECORD.set(values)
    try:
        yield values
    finally:
        _RECORD.reset(token)


@contextmanager
def replayed(values: Sequence[Tensor]) -> Iterator[None]:
    """Within it held values are those recorded, in their order, instead of being computed."""
    token = _REPLAY.set(iter(values))
    try:
        yield
    finally:
        _REPLAY.reset(token)
