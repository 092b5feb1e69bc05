"""Pickles as Python 2 wrote them: byte strings for text and data, and objects of chumpy.

chumpy itself is not needed: two classes of its names, with its attributes, are pickled like its own.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
from typing import Any, ClassVar

import numpy as np


class Ch:
    """As chumpy.ch.Ch: a plain array in `x`, and the state of its bookkeeping."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = np.asarray(x, dtype=np.float64)
        self._dirty_vars = {"x"}
        self._itr = None
        self._make_dense = False
        self._depends_on_deps: dict[str, Any] = {}


class Select:
    """As chumpy.reordering.Select: elements of another array."""

    def __init__(self, a: Ch, idxs: np.ndarray, preferred_shape: tuple[int, ...]) -> None:
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


def _register(module: str, kind: type) -> None:
    """Let pickle find the class under chumpy's name."""
    kind.__module__ = module
    sys.modules.setdefault("chumpy", types.ModuleType("chumpy"))
    sys.modules.setdefault(module, types.ModuleType(module))
    setattr(sys.modules[module], kind.__name__, kind)


_register("chumpy.ch", Ch)
_register("chumpy.reordering", Select)


class _Pickler(pickle._Pickler):
    """Protocol 2 with the string operations of Python 2."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_raw(self, data: bytes) -> None:
        if len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + struct.pack("<i", len(data)) + data)

    def save_text(self, text: str) -> None:
        self.save_raw(text.encode("latin1"))

    dispatch[bytes] = save_raw
    dispatch[str] = save_text


def dumps(content: Any) -> bytes:
    """A pickle by Python 2, with numpy's module names of that time."""
    stream = io.BytesIO()
    _Pickler(stream, protocol=2, fix_imports=True).dump(content)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
