"""Values on their way between processes: pickled, with the memory of arrays and tensors sent as it is.

A parcel is one message with the pickle and the sizes of its buffers, then one message per buffer. torch's own way,
files in shared memory, is avoided: that folder is small in containers, and every tensor takes a file descriptor.
The model is not sent: both ends hold it, and a mark stands for it.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

MODEL = "the model"


@dataclass(frozen=True)
class Parcel:
    """A pickled value."""

    content: bytes
    buffers: tuple[memoryview | bytearray, ...]
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
    connection.send_bytes(pickle.dumps((parcel.content, sizes)))
    for buffer in parcel.buffers:
        connection.send_bytes(buffer)


def receive(connection: Connection) -> Parcel:
    """Wait for a parcel; EOFError or OSError when the other end is gone."""
    content, sizes = pickle.loads(connection.recv_bytes())
    buffers = tuple(bytearray(size) for size in sizes)
    for buffer in buffers:
        # read into memory of our own: tensors must be able to write there
        connection.recv_bytes_into(buffer)
    return Parcel(content, buffers)


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
