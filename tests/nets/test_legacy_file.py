"""The format before the zip: where it ends, and that it does what its pickles say."""

from __future__ import annotations

import io
import pickle
import struct

import pytest
import torch

from hrnfit.nets.legacy_file import read_legacy
from tests.nets.mutants import saved


def read(data: bytes):
    return read_legacy(io.BytesIO(data), len(data))


def sound() -> bytes:
    return saved({"a": torch.arange(6.0), "b": torch.ones(3, dtype=torch.int64)}, legacy=True)


def test_shapes_are_read():
    found = read(sound())
    assert (found["a"].shape, found["a"].dtype) == ((6,), torch.float32)
    assert (found["b"].shape, found["b"].dtype) == ((3,), torch.int64)


def test_every_cut_is_found():
    data = sound()
    for length in range(0, len(data), 3):
        with pytest.raises(ValueError, match=r"damaged|ends before its last number|no checkpoint"):
            read(data[:length])


def test_bytes_behind_the_end_are_found():
    with pytest.raises(ValueError, match="5 bytes too many at its end"):
        read(sound() + b"12345")


def test_counts_must_be_those_of_the_pickle():
    data = sound()
    at = data.rindex(struct.pack("<q", 3), 0, len(data) - 24)
    for count in (0, 4, 2**40, -1):
        with pytest.raises(ValueError, match=r"the count of storage .* is damaged"):
            read(data[:at] + struct.pack("<q", count) + data[at + 8 :])


def test_other_pickles_are_told():
    with pytest.raises(ValueError, match="a pickle, but no checkpoint"):
        read(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(ValueError, match="where only plain values belong"):
        read(pickle.dumps(torch.Size, protocol=2))
    with pytest.raises(ValueError, match=r"its header is none that torch\.save writes"):
        read(sound().replace(b"\x4d\xe9\x03.", b"\x4d\xea\x03.", 1))
