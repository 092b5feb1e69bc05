"""The machine that reads pickles: data comes out as it is, keys and amounts are bounded."""

from __future__ import annotations

import io
import pickle

import pytest

from hrnfit.inert_pickle import Inert, Record, Refused, unpickled


def no_name(module, name):
    raise Refused(f"a name: {module}.{name}")


def plain(content, **limits):
    return unpickled(io.BytesIO(content), no_name, **limits)


@pytest.mark.parametrize("protocol", range(6))
def test_data_comes_out_as_it_is(protocol):
    value = {"a": [1, 2.5, None, True], ("b", 3): "text", 4: (1, (2, (3,)))}
    assert plain(pickle.dumps(value, protocol)) == value


def test_pickles_in_a_row_are_read_one_by_one():
    stream = io.BytesIO(pickle.dumps([1], 2) + pickle.dumps("two", 4) + b"rest")
    assert unpickled(stream, no_name) == [1]
    assert unpickled(stream, no_name) == "two"
    assert stream.read() == b"rest"


def test_names_and_things_outside_are_the_callers_matter():
    content = b"\x80\x02cmodule\nname\nX\x03\x00\x00\x00keyQ\x85R."
    found = unpickled(io.BytesIO(content), lambda m, n: Record, lambda pid: f"outside {pid}")
    assert isinstance(found, Record)
    assert found.arguments == ("outside key",)
    with pytest.raises(Refused, match=r"a name: module\.name"):
        plain(content)
    with pytest.raises(Refused, match="outside of itself"):
        plain(b"\x80\x02K\x01Q.")


def test_what_makes_and_fills_nothing_says_so():
    found = io.BytesIO(b"\x80\x02cm\nn\n)R.")
    with pytest.raises(Refused, match="it makes a Inert of 0 arguments"):
        unpickled(found, lambda m, n: Inert)
    with pytest.raises(Refused, match="it calls an object of type int"):
        plain(b"\x80\x02K\x01)R.")
    with pytest.raises(Refused, match="it fills in an object of type dict"):
        plain(b"\x80\x02}}b.")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02})" + b"\x85" * 20_000 + b"K\x01s.",  # hashed in C, a frame for each
        b"\x80\x04\x8f()" + b"\x85" * 20_000 + b"\x90.",
        b"\x80\x04()" + b"\x85" * 20_000 + b"\x91.",
        b"\x80\x02}(" + pickle.dumps(2**61 - 1, 2)[2:-1] + b"Nu.",  # hashes like 0
        b"\x80\x02(" + pickle.dumps(-(2**62), 2)[2:-1] + b"Nd.",
    ],
)
def test_keys_that_no_model_has_are_refused(content):
    with pytest.raises(Refused, match="keys that no model has"):
        plain(content)


def test_a_deep_value_is_no_key():
    assert plain(b"\x80\x02}K\x01K\x02\x85\x85s.") == {1: ((2,),)}


def test_amounts_are_bounded():
    assert len(plain(b"\x80\x02](" + b"N" * 50 + b"e.", deepest=100)) == 50
    with pytest.raises(Refused, match="more objects than any model"):
        plain(b"\x80\x02](" + b"N" * 200 + b"e.", deepest=100)
