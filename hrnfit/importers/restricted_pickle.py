"""Pickles of arrays, read without running anything they say: a machine that knows data and nothing else.

A pickle is a program: it may call whatever Python can import. Here a name in it never becomes the thing
it names. Those of arrays, sparse matrices, tensors and chumpy's wrappers become inert records that are
turned into arrays afterwards; every other name, and every operation that data has no need of (persistent
ids, extension codes, instances of old classes, buffers from outside), ends the reading. Strings
of Python 2 are read as latin-1, as their arrays' bytes are.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hrnfit.importers.pickled_records import RECORDS, Chumpy, Record, Refused

LARGEST = 600_000_000
"""Bytes of a file; FLAME's largest has 110 MB."""

DEEPEST = 1_000_000
"""Objects on the stack and in the memo; a model has some hundred."""

DATA = (
    *(b"(", b".", b"0", b"1", b"2"),  # marks, stop, pop, dup
    *(
        b"F",
        b"I",
        b"J",
        b"K",
        b"L",
        b"M",
        b"N",
        b"G",
        b"\x88",
        b"\x89",
        b"\x8a",
        b"\x8b",
    ),  # numbers
    *(b"S", b"T", b"U", b"V", b"X", b"\x8c", b"\x8d", b"B", b"C", b"\x8e", b"\x96"),  # text, bytes
    *(b"a", b"e", b"l", b"]", b"t", b")", b"\x85", b"\x86", b"\x87"),  # lists and tuples
    *(b"d", b"}", b"s", b"u", b"\x8f", b"\x90", b"\x91"),  # dictionaries and sets
    *(b"p", b"q", b"r", b"g", b"h", b"j", b"\x94"),  # memo
    *(b"\x80", b"\x95"),  # protocol, frame
)
"""Operations that only put data together."""

CALLS = {b"c": "global", b"\x93": "stack_global", b"R": "reduce", b"b": "build", b"\x81": "newobj"}
"""Operations that name, make and fill objects: done by our own records."""


class _Machine(pickle._Unpickler):  # the C one can be told neither which operations nor which calls
    """Python's own unpickler, cut down to `DATA` and `CALLS`."""

    dispatch: dict[int, Callable[[Any], None]]
    stack: list[Any]
    readline: Callable[[], bytes]

    def find_class(self, module: str, name: str, /) -> Any:
        if module.split(".")[0] == "chumpy":
            return Chumpy
        if (module, name) not in RECORDS:
            raise Refused(
                f"it asks for {module[:60]}.{name[:60]}; a model file holds arrays and nothing else"
            )
        return RECORDS[module, name]

    def persistent_load(self, pid: Any, /) -> Any:
        raise Refused("it refers to objects outside of itself")

    def do_global(self) -> None:
        module, name = (self.readline()[:-1].decode("utf-8") for _ in range(2))
        self.stack.append(self.find_class(module, name))

    def do_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise Refused("it names an object by something that is no text")
        self.stack.append(self.find_class(module, name))

    def do_reduce(self) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        self.stack.append(_called(made, arguments))

    do_newobj = do_reduce

    def do_build(self) -> None:
        state, record = self.stack.pop(), self.stack[-1]
        if not isinstance(record, Record):
            raise Refused(f"it fills in an object of type {type(record).__name__}")
        record.fill(state)


def _called(made: Any, arguments: Any) -> Any:
    """A new record, or the plain value that it stands for; nothing else can be called."""
    if not (isinstance(made, type) and issubclass(made, Record)) or not isinstance(
        arguments, tuple
    ):
        raise Refused(f"it calls an object of type {type(made).__name__}")
    return made.make(arguments)


def _bounded(step: Callable[[Any], None]) -> Callable[[Any], None]:
    """The operation, refused once the machine holds more than any model does."""

    def run(machine: Any) -> None:
        if len(machine.stack) + len(machine.memo) + len(machine.metastack) > DEEPEST:
            raise Refused("it holds more objects than any model")
        step(machine)

    return run


def _byte_array(machine: Any) -> None:
    """Bytes that may be written to, as plain ones: Python's own takes the stated length on trust."""
    (length,) = struct.unpack("<Q", machine.read(8))
    machine.append(machine.read(min(length, LARGEST)))


_Machine.dispatch = {
    code[0]: _bounded(pickle._Unpickler.dispatch[code[0]]) for code in DATA if code != b"\x96"
}
_Machine.dispatch |= {code[0]: getattr(_Machine, f"do_{name}") for code, name in CALLS.items()}
_Machine.dispatch[b"\x96"[0]] = _byte_array


def unpickled(content: bytes) -> Any:
    """What a pickle says: plain Python values, with records where arrays were.

    Raises ValueError in one sentence when it is damaged or asks for more than data.
    """
    try:
        return _Machine(io.BytesIO(content), encoding="latin1").load()
    except Refused:
        raise
    except KeyError as error:  # no such operation
        code = error.args[0] if error.args and isinstance(error.args[0], int) else -1
        raise Refused(f"operation {code} at its place is none that data needs") from error
    except Exception as error:  # a damaged program can fail anywhere
        text = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the pickle is damaged ({text[:200]})") from error


def read_pickle(path: Path) -> Any:
    """The same of a file."""
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{size} bytes, more than any model has")
    return unpickled(path.read_bytes())
