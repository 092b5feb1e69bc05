"""Whether our own kernels run on a device: the one question that every choice of an implementation asks."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch


def has_kernels(device: torch.device) -> bool:
    """True on CUDA where Triton is installed; elsewhere plain torch or the CPU's compiled loops are taken."""
    return device.type == "cuda" and _triton()


@cache
def _triton() -> bool:
    return find_spec("triton") is not None
