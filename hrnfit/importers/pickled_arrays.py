"""From the records of a pickle to arrays: every length is checked before anything is made of it.

The only types are numbers and booleans of fixed width. Sparse matrices come out dense; a chumpy value is
the array it wraps, or a selection from one.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any

import numpy as np

from hrnfit.importers.pickled_records import (
    Array,
    Buffer,
    Chumpy,
    Dtype,
    Record,
    Refused,
    Scalar,
    Sparse,
    Storage,
    Tensor,
)

MOST = 400_000_000
"""Elements of one array; FLAME's shape modes have 6 million."""

LISTED = 1_000_000
"""Numbers in nested lists at most."""


def array_of(value: Any) -> np.ndarray:
    """The array that a value of a pickle means. Raises ValueError when it means none."""
    kinds = {
        Array: _array,
        Buffer: _buffer,
        Scalar: _scalar,
        Sparse: _sparse,
        Chumpy: _chumpy,
        Tensor: _tensor,
    }
    if type(value) in kinds:
        return kinds[type(value)](value)
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (bool, int, float)):
        return np.array(value)
    if isinstance(value, (list, tuple)):
        return _stacked(value, [LISTED], 4)
    raise ValueError(f"expected an array, got {type(value).__name__}")


def single(value: Any) -> Any:
    """The one object in an object array without axes, as `np.save` writes a dictionary."""
    if isinstance(value, Array) and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, kind, _, items = value.state
        if shape == () and _is_object(kind) and isinstance(items, list) and len(items) == 1:
            return items[0]
    return value


def _stacked(values: Any, budget: list[int], depth: int) -> np.ndarray:
    """Nested lists of numbers and arrays of the same shape."""
    parts = []
    for value in values:
        nested = isinstance(value, (list, tuple))
        if nested and depth == 0:
            raise ValueError("a list nested deeper than any array")
        part = _stacked(value, budget, depth - 1) if nested else array_of(value)
        budget[0] -= 0 if nested else part.size
        if budget[0] < 0:
            raise ValueError("a list longer than any landmark table")
        parts.append(part)
    if len({part.shape for part in parts}) > 1:
        raise ValueError("a list of arrays of several shapes")
    return np.stack(parts) if parts else np.zeros(0)


def _array(record: Array) -> np.ndarray:
    state = record.state
    if not (isinstance(state, tuple) and len(state) == 5):
        raise ValueError("an array without content")
    _, shape, kind, fortran, data = state
    if _is_object(kind) and isinstance(data, list):
        return _stacked(data, [LISTED], 4).reshape(_shape(shape))
    return _from_bytes(data, kind, shape, "F" if fortran else "C")


def _buffer(record: Buffer) -> np.ndarray:
    if len(record.arguments) != 4:
        raise ValueError("an array buffer without shape")
    data, kind, shape, order = record.arguments
    return _from_bytes(data, kind, shape, "F" if order == "F" else "C")


def _scalar(record: Scalar) -> np.ndarray:
    if len(record.arguments) != 2:
        raise ValueError("a scalar without value")
    kind, data = record.arguments
    return _from_bytes(data, kind, (), "C")


def _from_bytes(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Raw bytes in a shape that needs exactly as many."""
    dtype, shape = _dtype(kind), _shape(shape)
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(raw, bytes):
        raise ValueError(f"array data of type {type(raw).__name__}")
    need = math.prod(shape) * dtype.itemsize
    if len(raw) != need:
        raise ValueError(f"an array of shape {shape} needs {need} bytes, there are {len(raw)}")
    return np.frombuffer(raw, dtype).reshape(shape, order=order)


def _shape(shape: Any) -> tuple[int, ...]:
    sound = isinstance(shape, tuple) and len(shape) <= 8
    if not sound or not all(type(n) is int and 0 <= n <= MOST for n in shape):
        raise ValueError(f"an array of shape {str(shape)[:80]}")
    if math.prod(shape) > MOST:
        raise ValueError(f"an array of shape {shape}, larger than any model's")
    return shape


def _dtype(kind: Any) -> np.dtype[Any]:
    """A number type; its byte order stands in the state."""
    if not isinstance(kind, Dtype) or not kind.arguments:
        raise ValueError("an array without a number type")
    name = kind.arguments[0]
    if not isinstance(name, str) or not re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f[248])", name):
        raise ValueError(f"an array of type {str(name)[:40]}; expected numbers")
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "|"
    dtype = np.dtype(name)
    return dtype.newbyteorder(">") if order == ">" else dtype


def _is_object(kind: Any) -> bool:
    return isinstance(kind, Dtype) and kind.arguments[:1] in (("O8",), ("O",), ("O4",), ("|O",))


def _sparse(record: Sparse) -> np.ndarray:
    """A matrix in compressed columns, dense."""
    state = record.state
    if not isinstance(state, dict):
        raise ValueError("a sparse matrix without content")
    shape = _shape(state.get("_shape", state.get("shape")))
    data, rows, starts = (array_of(state.get(k)).reshape(-1) for k in ("data", "indices", "indptr"))
    if len(shape) != 2 or len(starts) != shape[1] + 1 or len(rows) != len(data):
        raise ValueError(
            f"a sparse matrix of shape {shape} with {len(data)} entries and no columns"
        )
    if rows.dtype.kind not in "iu" or starts.dtype.kind not in "iu":
        raise ValueError("a sparse matrix whose places are no integers")
    counts = np.diff(starts.astype(np.int64))
    outside = len(rows) and not 0 <= rows.min() <= rows.max() < shape[0]
    if outside or (counts < 0).any() or counts.sum() != len(data) or starts[0] != 0:
        raise ValueError("a sparse matrix with entries outside of it")
    dense = np.zeros(shape, dtype=np.float64)
    np.add.at(dense, (rows.astype(np.int64), np.repeat(np.arange(shape[1]), counts)), data)
    return dense


def _chumpy(record: Chumpy) -> np.ndarray:
    """A plain value, or elements `idxs` of another one in `preferred_shape`."""
    state = record.state
    if isinstance(state, dict) and "x" in state:
        return array_of(state["x"])
    if isinstance(state, dict) and {"a", "idxs", "preferred_shape"} <= state.keys():
        if isinstance(state["a"], Chumpy) and "x" not in (state["a"].state or {}):
            raise ValueError("a chumpy selection of a selection")
        source, places = array_of(state["a"]).reshape(-1), array_of(state["idxs"]).reshape(-1)
        inside = places.dtype.kind in "iu" and (
            places.size == 0 or 0 <= places.min() <= places.max() < source.size
        )
        if not inside:
            raise ValueError("a chumpy selection outside of its array")
        return source[places.astype(np.int64)].reshape(_shape(tuple(state["preferred_shape"])))
    raise ValueError("a chumpy expression that is no plain array; save plain arrays")


TORCH_TYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "LongStorage": "i8",
    "IntStorage": "i4",
}


def _tensor(record: Tensor) -> np.ndarray:
    """A contiguous tensor."""
    if len(record.arguments) < 4:
        raise ValueError("a tensor without shape")
    storage, offset, size, stride = record.arguments[:4]
    shape = _shape(size)
    dense = tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))
    if not isinstance(storage, Storage) or offset != 0 or tuple(stride) != dense:
        raise ValueError("a tensor that is a view of another; save plain arrays")
    values = _storage(storage)
    if values.size < math.prod(shape):
        raise ValueError(f"a tensor of shape {shape} with {values.size} numbers")
    return values[: math.prod(shape)].reshape(shape)


def _storage(record: Storage) -> np.ndarray:
    """Numbers of a torch storage as `torch.save` wrote them before 1.6: type and count stand in a
    pickle of their own, the numbers behind it."""
    content = record.arguments[0] if record.arguments else b""
    raw = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(raw, bytes):
        raise ValueError("a tensor without content")
    found = re.search(rb"(Float|Double|Long|Int)Storage", raw)
    if found is None:
        raise ValueError("a tensor of a type that is not known here; save plain arrays")
    dtype = np.dtype(TORCH_TYPES[found.group().decode()]).newbyteorder("<")
    return _behind_the_last_stop(raw, dtype)


def _behind_the_last_stop(raw: bytes, dtype: np.dtype[Any]) -> np.ndarray:
    """The last part: a count of eight bytes, and as many numbers."""
    stream = io.BytesIO(raw)
    for at in (m.start() for m in re.finditer(rb"\.", raw)):
        stream.seek(at + 1)
        count = int.from_bytes(stream.read(8), "little")
        if at + 9 + count * dtype.itemsize == len(raw):
            return np.frombuffer(raw, dtype, count, at + 9)
    raise ValueError("a tensor whose numbers are missing")


def is_record(value: Any) -> bool:
    """Whether a value of a pickle is something other than plain Python data."""
    return isinstance(value, Record)


__all__ = ["Refused", "array_of", "is_record", "single"]
