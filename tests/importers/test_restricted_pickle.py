"""Hostile pickles run nothing; those of arrays come out as arrays, whoever wrote them."""

from __future__ import annotations

import collections
import copyreg
import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from hrnfit.importers.isolated import read_isolated
from hrnfit.importers.pickled_arrays import array_of, single
from hrnfit.importers.restricted_pickle import read_pickle, unpickled
from hrnfit.model.format_error import ModelFormatError
from tests.importers.python2_pickle import Ch, Select, dumps

READER = "hrnfit.importers.flame_pickle:model"


class Runs:
    """Pickled as a call of a function with arguments."""

    def __init__(self, function, *arguments, state=None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def touch(mark: Path) -> str:
    """Shell command whose success can be seen."""
    return f"touch {mark}"


def raw(*operations: bytes) -> bytes:
    """A pickle from its operations."""
    return b"\x80\x04" + b"".join(operations) + b"."


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def named(module: str, name: str) -> bytes:
    """STACK_GLOBAL of a name."""
    return text(module) + text(name) + b"\x93"


def hostile(mark: Path) -> dict[str, bytes]:
    command = touch(mark)
    code = f"__import__('os').system({command!r})"
    array = pickle.dumps(np.zeros(3), protocol=2)
    run = named("os", "system") + text(command[:250]) + b"\x85R"
    return {
        "os.system": pickle.dumps(Runs(os.system, command)),
        "posix.system, protocol 0": b"cposix\nsystem\n(S'" + command.encode() + b"'\ntR.",
        "eval": pickle.dumps(Runs(eval, code)),
        "exec": pickle.dumps(Runs(exec, code)),
        "inside a model": pickle.dumps({"v_template": np.zeros(3), "f": Runs(os.system, command)}),
        "as a key": pickle.dumps({Runs(os.system, command): 1}),
        "getattr chain": raw(named("builtins", "getattr"), named("os", "path"), text("os"), b"\x86R"),
        "dotted name": raw(named("os", "path.os.system"), text(command[:250]), b"\x85R"),
        "dotted numpy": raw(named("numpy", "ndarray.__class__"), text("x"), b"\x85R"),
        "numpy function": pickle.dumps(Runs(np.load, str(mark))),
        "numpy runstring": raw(named("numpy.testing._private.utils", "runstring"), text(code[:250]),
                               b"}", b"\x86R"),
        "numpy f2py": raw(named("numpy.f2py.diagnose", "run_command"), text(command[:250]), b"\x85R"),
        "numpy distutils": raw(named("numpy.distutils.exec_command", "_exec_command"),
                               text(command[:250]), b"\x85R"),
        "state of a foreign object": pickle.dumps(Runs(collections.UserDict, state={"x": 1})),
        "state on a class": raw(named("numpy", "ndarray"), b"}", text("__array_finalize__"),
                                text("x"), b"s", b"b"),
        "slot state on a class": raw(named("numpy", "ndarray"), b"N}", text("make"), text("x"),
                                     b"s\x86", b"b"),
        "state on a function": raw(named("numpy._core.multiarray", "_reconstruct"), b"N}",
                                   text("__code__"), text("x"), b"s\x86", b"b"),
        "record called by a record": raw(named("numpy", "dtype"), text("f8"), b"\x85R", text("x"),
                                         b"\x85R"),
        "new object of a class": raw(named("subprocess", "Popen"), text(command[:250]), b"\x85",
                                     b"\x81"),
        "new object with keywords": raw(named("subprocess", "Popen"), b")", b"}", b"\x92"),
        "old instance": b"(ios\nsystem\n.",
        "old instance of objects": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "persistent id": b"\x80\x02" + text("x") + b"Q.",
        "persistent id as a line": b"Pmark\n.",
        "extension code": b"\x80\x02\x82\x01.",
        "extension code of two bytes": b"\x80\x02\x83\x01\x00.",
        "buffer from outside": b"\x80\x05\x97.",
        "reconstructor": pickle.dumps(Runs(copyreg._reconstructor, dict, dict, {})),  # type: ignore[attr-defined]
        "reconstructor of a name": raw(named("copyreg", "_reconstructor"), named("numpy", "dtype"),
                                       named("builtins", "object"), b"N\x87R"),
        "codec": pickle.dumps(Runs(__import__("_codecs").encode, code, "rot13")),
        "torch load": raw(named("torch", "load"), text(str(mark)[:250]), b"\x85R"),
        "name made of bytes": raw(b"C\x02os", text("system"), b"\x93"),
        "huge memo index": b"\x80\x02K\x01r\xff\xff\xff\xff0j\xfe\xff\xff\xff.",
        "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "huge byte array": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N",
        "huge integer": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        "negative length": b"\x80\x02T" + struct.pack("<i", -5) + b"x.",
        "no stop": array[:-1],
        "nothing": b"",
        "stack underflow": b"\x80\x02R.",
        "mark underflow": b"\x80\x02t.",
        "unknown operation": b"\x80\x02\xfe.",
        "system hidden behind an array": array[:-1] + b"0" + run + b".",
        "own class of the reader": raw(named("hrnfit.importers.isolated", "main"), b")R"),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(hostile(Path("mark"))))
def test_nothing_runs(name, tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(hostile(mark)[name])
    with pytest.raises(ValueError, match=r"\w{4}"):
        read_pickle(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["os.system", "inside a model", "huge memo index", "huge byte array", "extension code"]
)
def test_the_child_answers_in_one_sentence(name, tmp_path):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(hostile(tmp_path / "mark")[name])
    with pytest.raises(ModelFormatError, match=r"generic_model\.pkl: ") as caught:
        read_isolated(READER, path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mark").exists()


def test_the_name_that_was_asked_for_is_said():
    with pytest.raises(ValueError, match=r"it asks for posix\.system; a model file holds arrays"):
        unpickled(b"cposix\nsystem\n(S'x'\ntR.")


def test_hostile_pickles_are_hostile(tmp_path):
    """Python's own reader would run them: else the tests above show nothing."""
    mark = tmp_path / "mark"
    for name in ("os.system", "eval", "system hidden behind an array"):
        pickle.loads(hostile(mark)[name])
        assert mark.exists()
        mark.unlink()


ARRAYS = {
    "real": np.linspace(0.0, 1.0, 12).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "unsigned": np.array([[2**32 - 1, 0]], dtype=np.uint32),
    "big endian": np.arange(4, dtype=">i2"),
    "half": np.float16([0.5, 2.0]),
    "boolean": np.array([True, False]),
    "scalar": np.float64(3.5),
    "empty": np.zeros((0, 3)),
    "without axes": np.array(7),
}


@pytest.mark.parametrize("name", list(ARRAYS))
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_of_every_protocol(name, protocol):
    found = array_of(unpickled(pickle.dumps(ARRAYS[name], protocol=protocol)))
    assert found.dtype == np.asarray(ARRAYS[name]).dtype
    np.testing.assert_array_equal(found, ARRAYS[name])


@pytest.mark.parametrize("name", [n for n in ARRAYS if n != "scalar"])
def test_arrays_of_python_2(name):
    found = array_of(unpickled(dumps({"key": ARRAYS[name]}))["key"])
    np.testing.assert_array_equal(found, ARRAYS[name])


@pytest.mark.parametrize("module", [b"scipy.sparse._csc", b"scipy.sparse.csc"])
def test_sparse_matrices_come_out_dense(module):
    dense = np.where(np.random.default_rng(0).random((5, 9)) < 0.3, 2.5, 0.0)
    for content in (pickle.dumps(sp.csc_matrix(dense), protocol=2), dumps(sp.csc_matrix(dense))):
        content = content.replace(b"cscipy.sparse._csc\n", b"c" + module + b"\n")
        np.testing.assert_array_equal(array_of(unpickled(content)), dense)


def test_sparse_matrices_must_fit():
    matrix = sp.csc_matrix(np.eye(4))
    matrix.indices[2] = 9
    with pytest.raises(ValueError, match="entries outside"):
        array_of(unpickled(dumps(matrix)))


def test_chumpy_values_are_their_arrays():
    values = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(array_of(unpickled(dumps(Ch(values)))), values)
    picked = Select(Ch(values), np.arange(4, 16), (3, 4))
    np.testing.assert_array_equal(
        array_of(unpickled(dumps(picked))), np.arange(4.0, 16).reshape(3, 4)
    )
    outside = Select(Ch(values), np.array([99]), (1,))
    with pytest.raises(ValueError, match="outside of its array"):
        array_of(unpickled(dumps(outside)))


def test_tensors_are_their_numbers():
    import torch

    for values in (torch.arange(12).view(3, 4), torch.rand(2, 3), torch.rand(2).double()):
        found = array_of(unpickled(pickle.dumps(values, protocol=3)))
        np.testing.assert_array_equal(found, values.numpy())
    with pytest.raises(ValueError, match="a view of another"):
        array_of(unpickled(pickle.dumps(torch.rand(3, 4).T, protocol=2)))


def test_lists_of_arrays_are_stacked():
    nested = [[1, 2, 3], [4, 5, 6]]
    np.testing.assert_array_equal(array_of(unpickled(dumps(nested))), nested)
    rows = [np.arange(3), np.arange(3) + 1]
    np.testing.assert_array_equal(array_of(unpickled(dumps(rows))), np.stack(rows))
    with pytest.raises(ValueError, match="several shapes"):
        array_of(unpickled(dumps([[1], [1, 2]])))


def test_a_list_of_itself_is_no_array():
    bomb: list = [1.0] * 10
    for _ in range(30):
        bomb = [bomb] * 10
    with pytest.raises(ValueError, match="nested deeper"):
        array_of(unpickled(pickle.dumps(bomb)))
    wide = [[[[0.0] * 40] * 40] * 40] * 40
    with pytest.raises(ValueError, match="longer than any"):
        array_of(unpickled(pickle.dumps(wide)))


def test_lengths_are_checked_before_anything_is_made():
    content = pickle.dumps(np.zeros(3), protocol=2)
    huge = content.replace(b"K\x03\x85q", b"J\xff\xff\xff\x7f\x85q")
    assert huge != content
    with pytest.raises(ValueError, match="shape"):
        array_of(unpickled(huge))


@pytest.mark.parametrize(
    "value", [np.array(["text"]), np.array([1j]), np.zeros(2, dtype="f4,i4"), "text", None, {}]
)
def test_what_is_no_array_of_numbers_is_refused(value):
    with pytest.raises(ValueError, match=r"expected|without content|type"):
        array_of(unpickled(pickle.dumps(value)))


def test_a_saved_dictionary_is_found_in_its_array():
    stream = io.BytesIO()
    np.save(stream, {"a": np.arange(3)}, allow_pickle=True)  # pyright: ignore
    content = stream.getvalue()
    found = single(unpickled(content[content.index(b"\n") + 1 :]))
    np.testing.assert_array_equal(array_of(found["a"]), np.arange(3))


def test_plain_data_stays_plain():
    content = {"a": [1, 2.5, None, True], "b": ("x", b"y"), "c": collections.OrderedDict(d=1)}
    assert unpickled(pickle.dumps(content, protocol=4)) == content
    assert unpickled(pickle.dumps({"set": {1}}, protocol=2)) == {"set": (1,)}
