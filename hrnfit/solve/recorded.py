"""A computation of fixed shapes, recorded once as a CUDA graph and replayed: hundreds of kernels by one launch.

Launching from Python takes 5 to 10 us a kernel, more than most kernels here run. What is recorded reads the
same memory at every replay, so inputs are copied into buffers of the recording, and its outputs are buffers that
the next replay overwrites. Recordings are kept per thread, for the next fit of the same shapes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hrnfit.geometry.kept import held_constants

Function = Callable[..., tuple[Tensor, ...]]
"""Tensors in, tensors out. It must not look at values on the host, and must allocate the same shapes each time."""

MOST = 64
"""Recordings kept per thread. A map stage makes two: for its first attempt and for all others."""


@dataclass(frozen=True)
class Recording:
    """One graph with the buffers that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    function: Function
    """Kept, because the graph reads the constants that it holds."""
    constants: tuple[Tensor, ...]
    """Others that the graph reads (`kept_lately`)."""

    def replay(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The outputs for these inputs, valid until the next replay."""
        self.load(inputs)
        return self.again()

    def load(self, inputs: tuple[Tensor, ...]) -> None:
        """Copy inputs into the buffers."""
        _fill(self.inputs, inputs)

    def again(self) -> tuple[Tensor, ...]:
        """The outputs for what the buffers hold, as a function leaves them that moves its inputs."""
        self.graph.replay()
        return self.outputs


def _fill(buffers: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> None:
    """Copy inputs into buffers, also into those whose gradients a recording takes; those of a dtype together,
    since twenty small copies cost their host 0.2 ms."""
    alike: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    with torch.no_grad():
        for buffer, value in zip(buffers, inputs, strict=True):
            if buffer.data_ptr() == value.data_ptr():
                continue
            if buffer.is_contiguous() and value.is_contiguous() and value.device == buffer.device:
                there, here = alike.setdefault(buffer.dtype, ([], []))
                there.append(buffer)
                here.append(value)
            else:
                buffer.copy_(value)
        for there, here in alike.values():
            torch._foreach_copy_(there, here)  # pyright: ignore[reportPrivateUsage]


class _Store:
    """Recordings of which one is replayed at a time, the one used last at the end."""

    def __init__(self) -> None:
        self.recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        self.pools: dict[torch.device, Any] = {}
        """Memory that recordings of a device have in common."""
        self.sides: dict[torch.device, torch.cuda.Stream] = {}
        """Stream of each device on which they are made: every stream costs cuBLAS a workspace of its own, and
        torch's own one for recording belongs to the first device that was used."""

    def side(self, device: torch.device) -> torch.cuda.Stream:
        """The stream on which recordings are made."""
        if device not in self.sides:
            self.sides[device] = torch.cuda.Stream(device)
        return self.sides[device]


class _Kept(threading.local):
    """The recordings of one thread, and whether it records at all."""

    def __init__(self) -> None:
        self.store = _Store()
        self.off = False


_kept = _Kept()
_left: list[_Store] = []
"""Recordings that threads left behind in `lent_recordings`, for the next thread."""
_leaving, _making = threading.Lock(), threading.Lock()


def replayed(key: Hashable, function: Function, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """`function(*inputs)`, on CUDA through a recording kept under `key`.

    key: names the function and everything it holds besides its inputs (constants by `id`); shapes, dtypes,
    the device of the inputs and whether they ask for gradients are added here. The next call with this key overwrites the outputs, and one with a key
    that was recorded before it may, since recordings of a thread share memory: copy what shall last. On the CPU, and
    inside `without_recording`, the function is simply called.
    """
    if not records(inputs[0].device):
        return function(*inputs)
    return recording(key, function, inputs).replay(inputs)


def records(device: torch.device) -> bool:
    """Whether computations on the device are recorded here."""
    return device.type == "cuda" and not _kept.off


def recording(key: Hashable, function: Function, inputs: tuple[Tensor, ...]) -> Recording:
    """The recording kept under `key` (see `replayed`), made with these inputs if there is none; not replayed.

    For functions that move some of their inputs in place, whose buffers are then the state: load them once,
    and replay with `again`.
    """
    device = inputs[0].device
    full = (key, device, *((tuple(x.shape), x.dtype, x.requires_grad) for x in inputs))
    recordings = _kept.store.recordings
    found = recordings.get(full)
    if found is None:
        # it synchronises the device, which must not happen while another thread records
        with _making:
            found = _recorded(function, inputs, device)
        recordings[full] = found
        while len(recordings) > MOST:
            recordings.popitem(last=False)
    recordings.move_to_end(full)
    return found


def forget_recordings() -> None:
    """Give back the memory of this thread's recordings, and of those that threads left behind."""
    # a replay under way reads what they hold; those of other threads were waited for
    for device in _kept.store.pools:
        torch.cuda.current_stream(device).synchronize()
    _kept.store = _Store()
    with _leaving:
        _left.clear()


@contextmanager
def lent_recordings() -> Generator[None]:
    """Within it the thread replays what a thread before it recorded, and leaves its own to the next.

    For threads that come and go: recordings are bound to none, but two threads must not replay one at once.
    """
    own = _kept.store
    with _leaving:
        _kept.store = _left.pop() if _left else _Store()
    try:
        yield
    finally:
        for device in _kept.store.pools:  # the next thread has another stream
            torch.cuda.current_stream(device).synchronize()
        with _leaving:
            _left.append(_kept.store)
        _kept.store = own


@contextmanager
def without_recording() -> Generator[None]:
    """Call functions plainly inside, as on the CPU: to compare, and to find a fault."""
    before, _kept.off = _kept.off, True
    try:
        yield
    finally:
        _kept.off = before


def _recorded(function: Function, inputs: tuple[Tensor, ...], device: torch.device) -> Recording:
    """Run once, since libraries and compiled kernels start lazily, then record. Recordings of a thread share
    one pool: they never run at the same time, and outputs that live are not reused."""
    buffers = tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in inputs)
    with torch.cuda.device(device), held_constants() as constants:
        side = _kept.store.side(device)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            function(*buffers)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        pool: Any = _kept.store.pools.get(device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            outputs = function(*buffers)
        _kept.store.pools.setdefault(device, graph.pool())
    return Recording(graph, buffers, outputs, function, tuple(constants))
