"""Compiled kernels and the threads that run them: the only place that knows numba's options.

Kernels release the interpreter lock and work on one view and a range of rows, so plain threads run
them side by side. That spares numba's own thread pool, which spins against torch's on small
machines, aborts on concurrent use in one of its variants, and doubles the compile time.
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numba
import torch

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use and keep the machine code on disk, where a folder can be written."""
    function = inspect.unwrap(function)  # run-time type checking wraps every function of a module
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return numba.njit(**options)(function)


def run(tasks: Sequence[Callable[[], None]]) -> None:
    """Run the tasks side by side and wait; the first runs in the calling thread."""
    if len(tasks) == 1:
        tasks[0]()
        return
    key = (os.getpid(), len(tasks) - 1)  # a forked child inherits no threads: it makes its own
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(key[1], thread_name_prefix="hrnfit-render")
    futures = [_pools[key].submit(task) for task in tasks[1:]]
    tasks[0]()
    for future in futures:
        future.result()


def run_all(tasks: Sequence[Callable[[], None]]) -> None:
    """Run any number of equal tasks on torch's number of threads."""
    threads = max(1, min(torch.get_num_threads(), len(tasks)))

    def share(first: int) -> None:
        for task in tasks[first::threads]:
            task()

    if tasks:
        run([partial(share, first) for first in range(threads)])


def row_pieces(views: int, rows: int) -> list[list[tuple[int, int, int]]]:
    """Equal shares of all rows of all views, one per torch thread, as (view, first, end) pieces."""
    threads = max(1, min(torch.get_num_threads(), views * rows))
    bounds = [views * rows * i // threads for i in range(threads + 1)]
    return [
        [
            (view, max(lo - view * rows, 0), min(hi - view * rows, rows))
            for view in range(lo // rows, (hi - 1) // rows + 1)
        ]
        for lo, hi in itertools.pairwise(bounds)
    ]
