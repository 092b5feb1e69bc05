"""What only the Basel HDF5 files have."""

from __future__ import annotations

import json
import sys

import h5py
import numpy as np
import pytest
import torch

from hrnfit.importers.basel_landmarks import NAMED, POINTS, basel_points, named_points
from hrnfit.importers.hdf5_arrays import INSTALL, read
from hrnfit.importers.kinds import ImportOptions, import_model
from hrnfit.model.format_error import ModelFormatError
from tests.importers.write_bfm_hdf5 import write_bfm17, write_bfm19_by_hand


def harmed(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replaced(key, value):
    def change(file):
        del file[key]
        if value is not None:
            file[key] = value

    return change


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("color/model/pcaBasis", None, "missing color/model/pcaBasis"),
        ("shape/model/mean", np.zeros(7, np.float32), r"shape/model/mean: expected \d+ numbers"),
        ("shape/model/pcaBasis", np.zeros((9, 2), np.float32), "pcaBasis: expected .*K.*got .9, 2"),
        ("expression/model/pcaVariance", np.ones(2, np.float32), "expected 4 or more numbers"),
        ("shape/model/pcaVariance", -np.ones(5, np.float32), "some negative or not finite"),
        ("shape/representer/cells", np.zeros((4, 9), np.int32), r"expected \(3, F\), got \(4, 9\)"),
        ("shape/representer/cells", np.full((3, 9), 10**6), r"vertices 1e\+06 to 1e\+06, but"),
        ("shape/model/mean", np.bytes_("no numbers"), "expected numbers"),
    ],
)
def test_a_wrong_dataset_is_named(tmp_path, key, value, sentence):
    path = harmed(write_bfm17(tmp_path).path, replaced(key, value))
    with pytest.raises(ModelFormatError, match=sentence) as caught:
        import_model("bfm17", path, "x")
    assert path.name in str(caught.value)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"PK" + bytes(1000))
    with pytest.raises(ModelFormatError, match="not an HDF5 file"):
        import_model("bfm17", path, "x")


def test_basis_of_another_scale_is_refused(tmp_path):
    path = write_bfm17(tmp_path).path

    def change(file):
        file["shape/model/pcaBasis"][...] *= 3.0

    with pytest.raises(ModelFormatError, match="columns are 3 to 3 long, expected 1"):
        import_model("bfm17", harmed(path, change), "x")


def test_files_of_the_old_format_hold_scaled_columns(tmp_path):
    written = write_bfm17(tmp_path)
    new = import_model("bfm17", written.path, "x")

    def change(file):
        for name in ("shape", "expression", "color"):
            std = np.sqrt(file[f"{name}/model/pcaVariance"][()])
            file[f"{name}/model/pcaBasis"][...] *= std
            file[f"{name}/version/minorVersion"][...] = 8

    old = import_model("bfm17", harmed(written.path, change), "x")
    assert torch.allclose(old.identity_basis, new.identity_basis, atol=1e-4)


def test_modes_can_be_chosen(tmp_path):
    written = write_bfm17(tmp_path)
    few = import_model("bfm17", written.path, "x", ImportOptions(modes=2))
    assert (few.n_identity, few.n_expression, few.n_albedo) == (2, 2, 2)
    whole = import_model("bfm17", written.path, "x")
    assert torch.equal(few.identity_basis, whole.identity_basis[:2])


def test_colours_of_a_mean_are_those_of_the_file(tmp_path):
    # a grey of sRGB 0.5 is 0.214 in linear light
    path = write_bfm17(tmp_path).path

    def change(file):
        file["color/model/mean"][...] = 0.5

    model = import_model("bfm17", harmed(path, change), "x")
    assert abs(float(model.albedo_mean.median()) - 0.2140) < 1e-3


def test_faces_wound_inwards_are_turned(tmp_path):
    path = write_bfm17(tmp_path).path
    before = import_model("bfm17", path, "x").faces

    def change(file):
        cells = file["shape/representer/cells"][()]
        file["shape/representer/cells"][...] = cells[[0, 2, 1]]

    after = import_model("bfm17", harmed(path, change), "x").faces
    assert {frozenset(t) for t in after.tolist()} == {frozenset(t) for t in before.tolist()}
    turns = {tuple(np.roll(t, k)) for t in before.tolist() for k in range(3)}
    assert all(tuple(t) in turns for t in after.tolist())


def test_parts_without_landmarks_are_left_out(tmp_path):
    """An eyeball behind the face: more vertices in every array, one more surface."""
    written = write_bfm17(tmp_path)
    whole = import_model("bfm17", written.path, "x")

    def change(file):
        n = file["shape/representer/points"].shape[1]
        for name, count in (("shape", 5), ("expression", 4), ("color", 6)):
            basis = file[f"{name}/model/pcaBasis"][()]
            mean = file[f"{name}/model/mean"][()]
            replaced(f"{name}/model/pcaBasis", np.vstack([basis, np.zeros((9, count), "f4")]))(file)
            replaced(f"{name}/model/mean", np.concatenate([mean, np.arange(9, dtype="f4") / 9]))(
                file
            )
        points = file["shape/representer/points"][()]
        cells = file["shape/representer/cells"][()]
        replaced("shape/representer/points", np.hstack([points, np.eye(3, dtype="f4")]))(file)
        replaced(
            "shape/representer/cells", np.hstack([cells, [[n], [n + 1], [n + 2]]]).astype("i4")
        )(file)

    again = import_model("bfm17", harmed(written.path, change), "x")
    assert torch.equal(again.faces, whole.faces)
    assert torch.allclose(again.mean, whole.mean, atol=1e-4)


def test_landmarks_must_lie_on_the_mesh(tmp_path):
    written = write_bfm19_by_hand(tmp_path)
    with pytest.raises(ModelFormatError, match=r"mm off the mesh.*landmarks68\.txt"):
        import_model("bfm19", written.path, "x")
    listed = written.options.extras / "landmarks68.txt"
    listed.write_text("1 2 3", encoding="utf-8")
    with pytest.raises(ModelFormatError, match="expected 68 vertex numbers"):
        import_model("bfm19", written.path, "x", written.options)
    listed.write_text("99999999 " * 68, encoding="utf-8")
    with pytest.raises(ModelFormatError, match="vertex 99999999, but the model has"):
        import_model("bfm19", written.path, "x", written.options)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        import_model("bfm19", written.path, "x", ImportOptions(extras=tmp_path / "none"))


def test_landmark_file_counts_among_the_sources(tmp_path):
    written = write_bfm19_by_hand(tmp_path)
    model = import_model("bfm19", written.path, "x", written.options)
    assert [name for name, _ in model.info.files] == ["other.h5", "landmarks68.txt"]


def test_the_points_follow_the_named_ones():
    named = {name: np.array(place) for name, place in NAMED.items()}
    assert np.allclose(basel_points(named), POINTS, atol=1e-6)
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    moved = {name: 1.1 * turn @ place + 5.0 for name, place in named.items()}
    assert np.allclose(basel_points(moved), 1.1 * POINTS @ turn.T + 5.0, atol=1e-6)
    assert basel_points({"center.nose.tip": np.zeros(3)}) is POINTS


def test_the_table_of_points_is_a_face():
    right, left = POINTS[36:42], POINTS[42:48]
    mirrored = left[[3, 2, 1, 0, 5, 4]] * [-1.0, 1.0, 1.0]
    assert np.abs(right - mirrored).max() < 2.0
    for name, mark in (("center.nose.tip", 30), ("left.eye.corner_inner", 42)):
        assert np.linalg.norm(POINTS[mark] - NAMED[name]) < 3.0
    assert POINTS[8, 1] < POINTS[57, 1] < POINTS[51, 1] < POINTS[30, 1] < POINTS[27, 1]


@pytest.mark.parametrize(
    "stored",
    [
        lambda text: np.bytes_(text),
        lambda text: np.array([np.bytes_(text)]),
        lambda text: np.frombuffer(text.encode(), dtype=np.int8),
        lambda text: text,
    ],
)
def test_texts_in_every_storage(tmp_path, stored):
    path = tmp_path / "texts.h5"
    text = json.dumps([{"id": "a", "coordinates": [1, 2, 3]}, {"id": "b", "coordinates": [1]}])
    with h5py.File(path, "w") as file:
        file["numbers"] = np.zeros(3)
        file["text"] = stored(text)
    found = read(path, {"keys": ["numbers"], "texts": ["text", "none"]})
    assert set(found) == {"numbers", "text"}
    points = named_points(found["text"].tobytes())
    assert list(points) == ["a"]
    assert points["a"].tolist() == [1.0, 2.0, 3.0]
    assert named_points(b"{") == named_points(b"[3]") == {}


def test_stated_sizes_are_not_believed(tmp_path):
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", shape=(2**40, 3), dtype="f4")
        file.create_dataset("hollow", shape=(1000, 3), dtype="f4")
    with pytest.raises(ModelFormatError, match=r"huge: shape .* is more than any model has"):
        read(path, {"keys": ["huge"]})
    with pytest.raises(ModelFormatError, match=r"hollow: .*the file holds less"):
        read(path, {"keys": ["hollow"]})


def test_without_h5py_the_install_line_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'hrnfit\[hdf5\]'"):
        read(tmp_path / "x.h5", {"keys": []})
    assert "hdf5" in INSTALL


def test_the_other_year_is_named(tmp_path, monkeypatch):
    from hrnfit.importers import bfm_hdf5

    path = write_bfm17(tmp_path).path
    with h5py.File(path) as file:
        n = file["shape/representer/points"].shape[1]
    monkeypatch.setitem(bfm_hdf5.YEARS, n, 2019)
    with pytest.raises(ModelFormatError, match=r"model of 2019; use the kind bfm19"):
        import_model("bfm17", path, "x")


def test_numbers_that_lie_in_another_file_are_not_read(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(8 * 12))
    path = tmp_path / "linked.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("far", (12,), "f8", external=[(str(secret), 0, 8 * 12)])
        file.create_dataset("hollow", (100, 100), "f4", chunks=(10, 10))
        file["near"] = np.ones(3)
    for key, sentence in (("far", "lie in another file"), ("hollow", "the file holds less")):
        with pytest.raises(ModelFormatError, match=f"{key}: .*{sentence}"):
            read(path, {"keys": [key]})
    assert read(path, {"keys": ["near"]})["near"].sum() == 3
