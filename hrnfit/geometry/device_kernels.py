"""Whether our own kernels run on a device, and take these very tensors: the questions that every choice of an
implementation asks."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

DEVICES = frozenset({"cuda"})
"""Types of devices that the kernels are compiled for; tests add the CPU, where an interpreter runs them."""


def has_kernels(device: torch.device) -> bool:
    """True on CUDA where Triton is installed; elsewhere plain torch or the CPU's compiled loops are taken."""
    return device.type in DEVICES and _triton()


def underived(*tensors: Tensor) -> bool:
    """Whether kernels that have no derivatives take these: on a device that has kernels, where no derivative is asked
    for, and outside of `vmap`, `jvp` and their kin, through whose wrappers kernels cannot look."""
    if not has_kernels(tensors[0].device):
        return False
    asked = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return not asked and torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore


@cache
def _triton() -> bool:
    return find_spec("triton") is not None
