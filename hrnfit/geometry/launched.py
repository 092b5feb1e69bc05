"""Triton kernels: the only place that knows Triton's options. Imported by modules of kernels alone, which
themselves are imported when a CUDA device is used: the library works without Triton.

With `TRITON_INTERPRET=1`, set before Triton is imported, kernels run on CPU tensors in plain Python, for tests.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import triton

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")
"""Whether kernels run in Python. A program costs milliseconds there, so blocks are made large."""

# Triton 3.9 warns until its coming default is chosen: here a * b + c is one rounding, as in all versions before,
# where a launch does not ask for two.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first use; Triton keeps the machine code on disk. Launched on the device of its tensors."""
    # run-time type checking wraps every function of a module, and Triton reads the source
    made: Any = triton.jit(inspect.unwrap(function))
    if not INTERPRETED:
        made.run = on_device_of_tensors(made.run)
    return made


def on_device_of_tensors(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, with the device of its first tensor as the current one: Triton launches on the current device and its
    current stream, wherever the tensors are. To ask takes 0.4 us of the host."""

    def launch(*args: Any, **options: Any) -> Any:
        for given in args:
            if isinstance(given, torch.Tensor):
                there = given.get_device()  # -1 on the CPU, of which Triton tells
                if there in (-1, torch.cuda.current_device()):
                    break
                with torch.cuda.device(there):
                    return run(*args, **options)
        return run(*args, **options)

    return launch


def blocks(items: int, block: int) -> tuple[int]:
    """Grid of programs that take `block` items each."""
    return (triton.cdiv(items, block),)


def width_of(block: int) -> int:
    """The block size to launch with: as asked for on a device, at least 2048 in the interpreter."""
    return max(block, 2048) if INTERPRETED else block


@cache
def persistent(device: torch.device, per_processor: int = 4) -> int:
    """Programs that fill the device once: for work whose amount only the device knows."""
    if device.type != "cuda":
        return 2
    return per_processor * torch.cuda.get_device_properties(device).multi_processor_count
