"""Values on their way between processes: pickled, with the memory of arrays and tensors sent as it is.

A parcel is one message with the pickle and the sizes of its buffers, then the buffers: on Linux, when they are large,
written into memory that has no name and whose descriptor is sent, so that nobody waits until the other end reads;
elsewhere one message for each. torch's own way, files in shared memory, is avoided: that folder is small in containers,
and every tensor keeps a file descriptor. The model is not sent: both ends hold it, and a mark stands for it.
"""

from __future__ import annotations

import io
import os
import pickle
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor

MODEL = "the model"
LARGE = 1_000_000
"""Bytes from which on buffers go through memory: 31 MB took 0.05 to 0.1 s of both ends through a pipe."""


@dataclass(frozen=True)
class Parcel:
    """A pickled value."""

    content: bytes
    buffers: tuple[memoryview, ...]
    """Memory of its arrays, in order."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.content) + sum(len(buffer) for buffer in self.buffers)


def packed(value: object, model: object = None) -> Parcel:
    """The value as it is sent; raises what pickle raises, usually PicklingError, TypeError or AttributeError."""
    buffers: list[pickle.PickleBuffer] = []
    content = io.BytesIO()
    _Pickler(content, model, buffers.append).dump(value)
    return Parcel(content.getvalue(), tuple(buffer.raw() for buffer in buffers))


def packed_whole(value: object, model: object = None) -> bytes:
    """The same with the arrays inside, to be kept."""
    content = io.BytesIO()
    _Pickler(content, model, None).dump(value)
    return content.getvalue()


def opened(parcel: Parcel | bytes, model: object = None) -> Any:
    """The value, with `model` wherever the sender's model stood."""
    if isinstance(parcel, bytes):
        return _Unpickler(io.BytesIO(parcel), model, ()).load()
    return _Unpickler(io.BytesIO(parcel.content), model, parcel.buffers).load()


def send(connection: Connection, parcel: Parcel) -> None:
    """Write a parcel; OSError when the other end is gone."""
    sizes = [len(buffer) for buffer in parcel.buffers]
    memory = _in_memory(parcel.buffers) if sum(sizes) >= LARGE else None
    with memory or nullcontext():
        connection.send_bytes(pickle.dumps((parcel.content, sizes, memory is not None)))
        if memory is not None:
            reduction.send_handle(connection, memory.fileno(), None)
            os.set_blocking(connection.fileno(), True)  # `socket.setdefaulttimeout` reaches it, too
            return
    for buffer in parcel.buffers:
        connection.send_bytes(buffer)


def receive(connection: Connection) -> Parcel:
    """Wait for a parcel; EOFError or OSError when the other end is gone."""
    content, sizes, through_memory = pickle.loads(connection.recv_bytes())
    # memory of our own: tensors must be able to write there, and a mapping would keep its descriptor
    buffers = tuple(np.empty(size, np.uint8).data for size in sizes)
    if through_memory:
        handle = reduction.recv_handle(connection)
        os.set_blocking(connection.fileno(), True)
        with open(handle, "rb") as memory:
            for buffer in buffers:
                memory.readinto(buffer)
    else:
        for buffer in buffers:
            connection.recv_bytes_into(buffer)
    return Parcel(content, buffers)


def _in_memory(buffers: tuple[memoryview, ...]) -> io.FileIO | None:
    """Memory without a name that holds the buffers, to be read from its start; None where the system gives none."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        with ExitStack() as opened_here:
            memory = opened_here.enter_context(io.FileIO(os.memfd_create("hrnfit"), "w"))
            for buffer in buffers:
                left = buffer
                while len(left):
                    left = left[os.write(memory.fileno(), left) :]
            memory.seek(0)
            opened_here.pop_all()
            return memory
    except OSError:  # not in every sandbox, and not without room
        return None


class _Pickler(pickle.Pickler):
    """Tensors on the host as arrays, the model as a mark."""

    def __init__(self, file: io.BytesIO, model: object, aside: Any) -> None:
        super().__init__(file, protocol=5, buffer_callback=aside)
        self._model = model

    def persistent_id(self, obj: Any) -> str | None:
        return MODEL if self._model is not None and obj is self._model else None

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not Tensor:
            return NotImplemented
        try:
            return torch.from_numpy, (obj.numpy(),)
        except (TypeError, RuntimeError):  # on a GPU, with a gradient, bfloat16: torch's own way
            return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, model: object, buffers: Any) -> None:
        super().__init__(file, buffers=buffers)
        self._model = model

    def persistent_load(self, pid: Any) -> Any:
        if pid != MODEL or self._model is None:
            raise pickle.UnpicklingError(f"expected a mark for the model, got {pid!r}")
        return self._model
