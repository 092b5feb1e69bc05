"""Networks laid out without numbers: shapes and names cost no memory, and no time for fresh weights.

On torch's meta device alone each fill of a fresh weight still goes through torch's compiler, whose
import takes 1 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FILLS = frozenset((Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_))
INIT = torch.nn.init.__name__
"""What the layers of torch fill fresh weights with; within a function of `INIT` the fills are not seen."""


class _NoFills(TorchFunctionMode):
    """Fills leave their tensor as it is."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in FILLS or getattr(func, "__module__", "") == INIT:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextmanager
def without_numbers() -> Iterator[None]:
    """Modules that are made inside have parameters and buffers with a shape and a type only."""
    with torch.device("meta"), _NoFills():
        yield
