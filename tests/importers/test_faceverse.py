"""What only FaceVerse's pickled dictionaries have, and that nothing in them is run."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from hrnfit.importers.kinds import ImportOptions, import_model
from hrnfit.importers.npy_dict import read
from hrnfit.model.format_error import ModelFormatError
from tests.importers.write_faceverse import write_faceverse, write_faceverse_v4


def changed(path, **arrays):
    content = np.load(path, allow_pickle=True).item() | arrays
    kept = {key: value for key, value in content.items() if value is not None}
    np.save(path, np.array(kept, dtype=object), allow_pickle=True)
    return path


def test_named_expressions_are_activations(tmp_path):
    model = import_model("faceverse", write_faceverse(tmp_path).path, "x")
    assert model.expression_is_blendshape
    assert model.expression_names[0] == "move0"
    path = changed(tmp_path / "faceverse_simple_v2.npy", exp_name_list=None)
    modes = import_model("faceverse", path, "x")
    assert not modes.expression_is_blendshape
    assert modes.expression_names[0] == "mode0"


def test_other_keys_of_version_3(tmp_path):
    path = write_faceverse(tmp_path).path
    before = import_model("faceverse", path, "x")
    content = np.load(path, allow_pickle=True).item()
    names = content["exp_name_list"]
    changed(path, exBase=None, exBase_52=content["exBase"], exp_name_list_52=names)
    again = import_model("faceverse", path, "x")
    assert torch.equal(again.expression_basis, before.expression_basis)
    # its landmarks are of another scheme; the user gives ours
    changed(path, keypoints=None, mediapipe_keypoints=np.arange(478))
    with pytest.raises(ModelFormatError, match=r"no 68 or 66 keypoints.*landmarks68\.txt"):
        import_model("faceverse", path, "x")
    listed = tmp_path / "landmarks68.txt"
    listed.write_text(" ".join(str(k) for k in range(0, 680, 10)), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="nose lies behind the eyes"):
        import_model("faceverse", path, "x", ImportOptions(extras=tmp_path))


def test_mirrored_files_are_refused(tmp_path):
    path = write_faceverse_v4(tmp_path).path
    mean = np.load(path, allow_pickle=True).item()["meanshape"]
    with pytest.raises(ModelFormatError, match="the face is mirrored"):
        import_model("faceverse", changed(path, meanshape=mean * [-1.0, 1.0, 1.0]), "x")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("idBase", np.zeros((8, 3)), r"idBase: expected \(\d+, K\), got \(8, 3\)"),
        ("meantex", np.zeros(9), "meantex: expected"),
        ("meanshape", np.zeros(8), "meanshape: expected 3 numbers per vertex"),
        ("tri", np.full((2, 3), 10**7), "tri: vertices 10000000 to 10000000, but"),
        ("tri", "none", "tri: expected"),
        ("keypoints", np.full(66, 10**7), "keypoints: vertices 10000000"),
        ("exBase", None, "missing exBase"),
        ("texBase", None, "missing texBase; it holds"),
        ("idBase", {"a": 1}, "idBase: expected an array, got dict"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, key, value, sentence):
    path = changed(write_faceverse(tmp_path).path, **{key: value})
    with pytest.raises(ModelFormatError, match=sentence):
        import_model("faceverse", path, "x")


class Harm:
    """Unpickled as usual it would make a folder."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("call", [os.mkdir, os.system, eval, np.load, pickle.loads])
def test_nothing_in_a_pickle_is_run(tmp_path, call):
    made = tmp_path / "made"
    path = write_faceverse(tmp_path).path
    argument = b"" if call is pickle.loads else str(made)
    changed(path, extra=Harm(call, argument))
    with pytest.raises(ModelFormatError, match=r"it asks for .*arrays and nothing else"):
        import_model("faceverse", path, "x")
    assert not made.exists()


def test_plain_dictionaries_only(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(ModelFormatError, match=r"an array of float64 \(3,\), expected one pickled"):
        read(path, {"keys": []})
    np.save(path, np.array([1, 2, None], dtype=object)[:1], allow_pickle=True)
    with pytest.raises(ModelFormatError, match=r"an array of object \(1,\), expected one pickled"):
        read(path, {"keys": []})
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelFormatError, match=r"not an \.npy file"):
        read(path, {"keys": []})


def test_a_header_that_is_no_python_is_no_npy_file(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(3))
    sound = path.read_bytes()
    for harmed in (sound.replace(b"(3,)", b"((((", 1), b"\x93NUMPY\x09\x00" + sound[8:]):
        path.write_bytes(harmed)
        with pytest.raises(ModelFormatError, match=r"not an \.npy file"):
            read(path, {"keys": []})


def test_the_reader_of_dictionaries_needs_no_torch():
    """It runs in a child with little memory."""
    asked = "import sys, hrnfit.importers.npy_dict; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_old_pickles_write_bytes_as_text(tmp_path):
    path = tmp_path / "old.npy"
    content = {"a": np.arange(5.0), "b": np.float32(3), "names": ["x", "y"]}
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        pickle.dump(np.array(content, dtype=object), file, protocol=2)
    found = read(path, {"keys": ["a", "b"], "maybe": ["names", "none"]})
    assert found["a"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert found["b"] == 3
    assert found["names"].tolist() == ["x", "y"]


def test_other_codecs_are_turned_away(tmp_path):
    path = write_faceverse(tmp_path).path
    import _codecs

    changed(path, extra=Harm(_codecs.encode, "x", "zip"))
    with pytest.raises(ModelFormatError, match="encodes something that is no latin-1 text"):
        import_model("faceverse", path, "x")
