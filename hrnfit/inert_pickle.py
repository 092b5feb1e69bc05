"""Pickles read without running anything they say: a machine that knows data and nothing else.

A pickle is a program: it may call whatever Python can import. Here a name in it never becomes the thing
it names. The caller says which names stand for which inert records; every other name, and every operation
that data has no need of (extension codes, instances of old classes, buffers from outside), ends the
reading. Strings of Python 2 are read as latin-1, as their arrays' bytes are.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

DEEPEST = 1_000_000
"""Objects on the stack and in the memo, unless the caller says less; a model has some hundred."""

LONGEST = 600_000_000
"""Bytes of one byte array."""

LARGEST_KEY = 2**60
"""Whole numbers below it hash to themselves: many that hash alike would keep a dictionary busy for hours."""

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

EVERY, ALTERNATE, LAST_BUT_ONE = slice(None), slice(None, None, 2), slice(-2, -1)
HASHING = {
    b"d": ALTERNATE,
    b"s": LAST_BUT_ONE,
    b"u": ALTERNATE,
    b"\x90": EVERY,
    b"\x91": EVERY,
}
"""Operations that hash some of what lies on the stack since the last mark, and which."""


class Refused(ValueError):
    """A pickle asks for something that is no data."""


class Inert:
    """What may stand in for an object of a pickle; the machine calls `make` and `fill` and nothing else."""

    __slots__ = ()

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> Any:
        """The answer to a call."""
        raise Refused(f"it makes a {cls.__name__} of {len(arguments)} arguments")

    def fill(self, state: Any) -> None:
        """The state of a build operation."""
        raise Refused(f"it fills in a {type(self).__name__}")


class Record(Inert):
    """Arguments and state, as the pickle gave them."""

    __slots__ = ("arguments", "state")

    arguments: tuple[Any, ...]
    state: Any
    limit: ClassVar[int] = 12
    """Arguments at most."""

    @classmethod
    def make(cls, arguments: tuple[Any, ...]) -> Any:
        """A record of a call; subclasses may answer with a plain value."""
        if len(arguments) > cls.limit:
            raise Refused(f"{cls.__name__}: {len(arguments)} arguments")
        record = cls.__new__(cls)
        record.arguments, record.state = arguments, None
        return record

    def fill(self, state: Any) -> None:
        """The state of a build operation, once."""
        if self.state is not None:
            raise Refused(f"{type(self).__name__}: filled in twice")
        self.state = state


FindRecord = Callable[[str, str], Any]
"""From module and name to what stands for it; raises Refused for all that does not."""

FindOutside = Callable[[Any], Any]
"""From a persistent id to what stands for the object outside of the pickle."""


class _Machine(pickle._Unpickler):  # the C one can be told neither which operations nor which calls
    """Python's own unpickler, cut down to `DATA`, `CALLS` and, where asked for, persistent ids."""

    dispatch: dict[int, Callable[[Any], None]]
    stack: list[Any]
    readline: Callable[[], bytes]
    find_record: FindRecord
    find_outside: FindOutside | None
    deepest: int

    def find_class(self, module: str, name: str, /) -> Any:
        return self.find_record(module, name)

    def persistent_load(self, pid: Any, /) -> Any:
        if self.find_outside is None:
            raise Refused("it refers to objects outside of itself")
        return self.find_outside(pid)

    def do_global(self) -> None:
        lines = [self.readline() for _ in range(2)]
        if not all(line.endswith(b"\n") for line in lines):
            raise EOFError("it ends within a name")
        module, name = (line[:-1].decode("utf-8") for line in lines)
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
        if not isinstance(record, Inert):
            raise Refused(f"it fills in an object of type {type(record).__name__}")
        record.fill(state)


def _called(made: Any, arguments: Any) -> Any:
    """A new record, or the plain value that it stands for; nothing else can be called."""
    if not (isinstance(made, type) and issubclass(made, Inert)) or not isinstance(arguments, tuple):
        raise Refused(f"it calls an object of type {type(made).__name__}")
    return made.make(arguments)


def _bounded(step: Callable[[Any], None]) -> Callable[[Any], None]:
    """The operation, refused once the machine holds more than any model does."""

    def run(machine: Any) -> None:
        if len(machine.stack) + len(machine.memo) + len(machine.metastack) > machine.deepest:
            raise Refused("it holds more objects than any model")
        step(machine)

    return run


def _hashing(step: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """The operation, refused for keys of another kind: hashing a tuple of a tuple of a tuple ... takes
    as much of the C stack as the pickle likes."""

    def run(machine: Any) -> None:
        for key in machine.stack[keys]:
            check_key(key)
        step(machine)

    return run


def check_key(value: Any) -> None:
    """Raise Refused for a tuple within a tuple and for whole numbers that are no key of anything."""
    parts = value if isinstance(value, tuple) else (value,)
    for part in parts:
        if isinstance(part, tuple) or (isinstance(part, int) and abs(part) >= LARGEST_KEY):
            raise Refused("it has keys that no model has")


def _byte_array(machine: Any) -> None:
    """Bytes that may be written to, as plain ones: Python's own takes the stated length on trust."""
    (length,) = struct.unpack("<Q", machine.read(8))
    machine.append(machine.read(min(length, LONGEST)))


def _dispatch() -> dict[int, Callable[[Any], None]]:
    own = pickle._Unpickler.dispatch
    steps = {code: own[code[0]] for code in (*DATA, b"Q")}
    steps |= {code: _hashing(steps[code], keys) for code, keys in HASHING.items()}
    steps[b"\x96"] = _byte_array
    steps |= {code: getattr(_Machine, f"do_{name}") for code, name in CALLS.items()}
    return {code[0]: _bounded(step) for code, step in steps.items()}


_Machine.dispatch = _dispatch()


def unpickled(
    stream: io.BufferedIOBase,
    find_record: FindRecord,
    find_outside: FindOutside | None = None,
    deepest: int = DEEPEST,
) -> Any:
    """What the pickle at the place of a stream says: plain Python values, with records where objects were.

    The stream is left after its end. Raises ValueError in one sentence when it is damaged, Refused when it
    asks for more than data or holds more than `deepest` objects; errors of that class that the finders
    raise pass.
    """
    machine = _Machine(stream, encoding="latin1")
    machine.find_record, machine.find_outside = find_record, find_outside
    machine.deepest = deepest
    try:
        return machine.load()
    except Refused:
        raise
    except KeyError as error:  # no such operation
        code = error.args[0] if error.args and isinstance(error.args[0], int) else -1
        raise Refused(f"operation {code} at its place is none that data needs") from error
    except Exception as error:  # a damaged program can fail anywhere
        text = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the pickle is damaged ({text[:200]})") from error
