"""Which device a name stands for, and work that stays on it.

`cuda:N` is GPU N of those that torch sees, `cuda` the current one. Kernels and libraries that name no
device run on the current one, so a fit makes its own the current one of its thread.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext

import torch

NAMES = "auto, cpu, cuda or cuda:N"


def named_device(name: str) -> torch.device:
    """The device `cpu`, `cuda` or `cuda:N`; ValueError for another name or a GPU that is not there."""
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"device {name!r}: expected {NAMES}")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch sees no CUDA GPU; use device 'cpu' or 'auto'")
    if found[1] is None:
        return torch.device("cuda")
    count = torch.cuda.device_count()
    if int(found[1]) >= count:
        there = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
        raise ValueError(f"device {name!r}: torch sees no such GPU; there are: {there}")
    return torch.device("cuda", int(found[1]))


def numbered(device: torch.device) -> torch.device:
    """The same device with its number, which a new thread needs: its own current device is the first."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Within it `device` is the current one of the thread."""
    if device.type != "cuda" or device.index is None:
        return nullcontext()
    return torch.cuda.device(device)
