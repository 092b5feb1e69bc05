"""What stands in for objects of a pickle: records that keep what they are given and do nothing.

One for each way that numpy, scipy, torch and chumpy write arrays down. `array_of` in `pickled_arrays.py`
turns them into arrays. A record is made from arguments and filled with a state, once each.
"""

from __future__ import annotations

from typing import Any

from hrnfit import inert_pickle
from hrnfit.inert_pickle import Record
from hrnfit.model.format_error import ModelFormatError


class Refused(ModelFormatError, inert_pickle.Refused):
    """A pickle asks for something that is no data."""


class Array(Record):
    """numpy `_reconstruct(ndarray, (0,), 'b')`; state: version, shape, dtype, fortran order, data."""


class Buffer(Record):
    """numpy `_frombuffer(data, dtype, shape, order)`."""


class Scalar(Record):
    """numpy `scalar(dtype, data)`."""


class Dtype(Record):
    """numpy `dtype(name, align, copy)`; state: version, byte order and the parts of compound ones."""


class Sparse(Record):
    """scipy `csc_matrix`; state: its attributes `data`, `indices`, `indptr`, `_shape`."""


class Chumpy(Record):
    """Any class of chumpy; state: its attributes, `x` of a plain array."""


class Tensor(Record):
    """torch `_rebuild_tensor_v2(storage, offset, size, stride, ...)`."""


class Storage(Record):
    """torch `_load_from_bytes(content)`: a pickle within."""


class Name(Record):
    """A class that only appears as an argument, such as `ndarray` and `object`."""


class Encoded(Record):
    """`_codecs.encode(text, 'latin1')`: how Python 3 writes bytes for Python 2."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> bytes:
        text, *codec = arguments or ("",)
        if not isinstance(text, str) or codec not in ([], ["latin1"], ["latin-1"]):
            raise Refused("it encodes something that is no latin-1 text")
        return text.encode("latin1")


class Nothing(Record):
    """`bytes()`: how Python 3 writes no bytes for Python 2."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> bytes:
        if arguments:
            raise Refused("it makes bytes of something")
        return b""


class Group(Record):
    """`set` and `frozenset`: nothing that a model needs, kept as a tuple."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        items = arguments[0] if arguments else ()
        return tuple(items) if isinstance(items, (list, tuple)) else ()


class Table(Record):
    """`OrderedDict`: a dictionary."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        pairs = arguments[0] if arguments else ()
        if not isinstance(pairs, (list, tuple)):
            raise Refused("a dictionary of something that is no list of pairs")
        return dict(pairs)


class Reconstructed(Record):
    """`copy_reg._reconstructor(class, object, None)`: an empty record of that class."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> Any:
        kind = arguments[0] if arguments else None
        if not (isinstance(kind, type) and kind in (Chumpy, Sparse)):
            raise Refused("it reconstructs an object that is no array")
        return kind.make(())


RECORDS: dict[tuple[str, str], type[Record]] = {
    ("numpy", "ndarray"): Name,
    ("numpy", "dtype"): Dtype,
    ("collections", "OrderedDict"): Table,
    ("_codecs", "encode"): Encoded,
    ("torch._utils", "_rebuild_tensor_v2"): Tensor,
    ("torch.storage", "_load_from_bytes"): Storage,
}
"""What each name in a pickle becomes; there are no others."""

for _core in ("numpy.core", "numpy._core"):
    RECORDS[f"{_core}.multiarray", "_reconstruct"] = Array
    RECORDS[f"{_core}.multiarray", "scalar"] = Scalar
    RECORDS[f"{_core}.numeric", "_frombuffer"] = Buffer
for _place in ("csc", "_csc"):
    RECORDS[f"scipy.sparse.{_place}", "csc_matrix"] = Sparse
for _builtins in ("__builtin__", "builtins"):
    RECORDS |= {(_builtins, "object"): Name, (_builtins, "set"): Group}
    RECORDS |= {(_builtins, "frozenset"): Group, (_builtins, "bytes"): Nothing}
for _registry in ("copy_reg", "copyreg"):
    RECORDS[_registry, "_reconstructor"] = Reconstructed
