"""What the pickle of a checkpoint says of its tensors, read before torch is let near it.

What a checkpoint claims and what it holds may differ: a count of numbers, a view beyond its storage.
Torch 2.13 refuses both, with words about its own insides; that every version from 2.6 on does is not relied
on. So the pickle is read here by the inert machine: a name becomes a record, a storage its stated
count, a tensor its shape, offset and strides, checked against the storage. Nothing is allocated.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import torch

from hrnfit import inert_pickle
from hrnfit.inert_pickle import Inert, Refused

STORAGES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""Names of torch's storages and what is in them."""

MOST_AXES = 16

MOST_OBJECTS = 200_000
"""HRN v1.1 has some ten thousand."""


@dataclass(frozen=True)
class Storage:
    """A run of numbers outside of the pickle."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage, inside of it."""

    storage: Storage
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Type of its numbers."""
        return self.storage.dtype


class _Tensor(Inert):
    """torch `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> StoredTensor:
        if len(arguments) not in (6, 7) or not isinstance(arguments[0], Storage):
            raise Refused("it makes a tensor of something that is no storage")
        storage, offset, shape, strides, gradient, hooks = arguments[:6]
        whole = (_is_counts((offset,)), _is_counts(shape), _is_counts(strides))
        if not all(whole) or len(shape) != len(strides) or not isinstance(gradient, bool):
            raise Refused("it makes a tensor whose shape or strides are no whole numbers")
        if hooks or any(arguments[6:]):
            raise Refused("it makes a tensor with hooks")
        reach = sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if 0 not in shape and offset + reach >= storage.count:
            raise Refused(f"it makes a tensor {_short(shape)} that reaches beyond its storage")
        if math.prod(shape) > storage.count:
            raise Refused(
                f"it makes a tensor {_short(shape)} of a storage of {storage.count} numbers"
            )
        return StoredTensor(storage, tuple(shape))


class _Parameter(Inert):
    """torch `_rebuild_parameter(tensor, requires_grad, hooks)`: the tensor."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> StoredTensor:
        if len(arguments) != 3 or not isinstance(arguments[0], StoredTensor) or arguments[2]:
            raise Refused("it makes a parameter of something that is no tensor")
        return arguments[0]


class Table(dict[Any, Any], Inert):
    """`OrderedDict()`; its state, the versions of the modules, is let go."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> Table:
        if arguments:
            raise Refused("it makes a dictionary of something")
        return cls()

    def fill(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Refused("it fills in a dictionary with something that is none")


RECORDS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Table,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
} | {("torch", name): dtype for name, dtype in STORAGES.items()}
"""What each name in a checkpoint becomes; there are no others."""


def _record(module: str, name: str) -> Any:
    if (module, name) not in RECORDS:
        raise Refused(
            f"it asks for {module[:60]!a}.{name[:60]!a}; a checkpoint of weights holds tensors and plain "
            "values and nothing else: get it from where it was published"
        )
    return RECORDS[module, name]


def read_layout(stream: io.BufferedIOBase, *, legacy: bool) -> tuple[Any, dict[str, Storage]]:
    """The pickle at a stream's place, with `StoredTensor`s for its tensors, and all storages by key.

    Raises ValueError in one sentence when it is damaged or asks for more than tensors.
    """
    storages: dict[str, Storage] = {}

    def outside(pid: Any) -> Storage:
        storage = _storage(pid, legacy)
        if storages.setdefault(storage.key, storage) != storage:
            raise Refused(f"it states storage {storage.key[:40]!a} twice, and differently")
        return storage

    return inert_pickle.unpickled(stream, _record, outside, MOST_OBJECTS), storages


def _storage(pid: Any, legacy: bool) -> Storage:
    """The persistent id ("storage", type, key, location, count), in old files with a view behind it."""
    if not isinstance(pid, tuple) or len(pid) != 5 + legacy or pid[0] != "storage":
        raise Refused("it refers to something outside of itself that is no storage")
    _, dtype, key, location, count = pid[:5]
    named = isinstance(key, str) and isinstance(location, str) and isinstance(dtype, torch.dtype)
    if not named or not _is_counts((count,)) or pid[5:] not in ((), (None,)):
        raise Refused("it refers to a storage in a way that torch.save does not")
    return Storage(key, dtype, count)


def _is_counts(values: Any) -> bool:
    """Whether these are whole numbers from 0 on that fit 63 bits."""
    return (
        isinstance(values, tuple)
        and len(values) <= MOST_AXES
        and all(type(v) is int and 0 <= v < 2**63 for v in values)
    )


def _short(shape: tuple[int, ...]) -> str:
    return str(shape) if len(str(shape)) < 60 else f"of {len(shape)} axes"
