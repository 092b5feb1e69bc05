"""What a GPU would have to wait for: reads of values by the host, and results whose shape depends on values."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal.default")
"""Parts of the names of operators that wait."""


class HostReads(TorchDispatchMode):
    """Within it, names of the operators that would wait are put down."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = str(func)
        masks = (
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for arg in args
            if isinstance(arg, (list, tuple))
            for index in arg
        )
        if any(part in name for part in ASKING) or ("index" in name and any(masks)):
            self.found.append(name)
        return func(*args, **(kwargs or {}))
