"""Whether our own kernels run on a device: the one question that every choice of an implementation asks."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch

DEVICES = frozenset({"cuda"})
"""Types of devices that the kernels are compiled for; tests add the CPU, where an interpreter runs them."""


def has_kernels(device: torch.device) -> bool:
    """True on CUDA where Triton is installed; elsewhere plain torch or the CPU's compiled loops are taken."""
    return device.type in DEVICES and _triton()


@cache
def _triton() -> bool:
    return find_spec("triton") is not None
