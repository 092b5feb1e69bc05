"""The Basel model of 2009: two traps of its index keys, the raw set, refusals, and the chart we make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from hrnfit.geometry.mesh import face_normals
from hrnfit.geometry.uv import chart_quality, overlaps
from hrnfit.importers.bfm09_layout import KEYS, front_model, indices
from hrnfit.importers.bfm09_raw import expression_modes
from hrnfit.importers.kinds import ImportOptions, import_model
from hrnfit.model.format_error import ModelFormatError
from tests.importers.write_bfm09 import converted, raw_set, write_bfm09, write_raw


@pytest.fixture(scope="module")
def arrays():
    return converted(raw_set())


def imported(path: Path, extras: Path | None = None):
    return import_model("bfm09", path, "bfm", ImportOptions(extras=extras))


def with_value(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


# The traps.


def test_front_triangles_count_in_the_front(arrays):
    """The rows are triangles of the mesh through `frontmask2_idx`, and not without it."""
    model = front_model(arrays)
    known = {frozenset(row) for row in model.faces.tolist()}
    assert len(model.front_faces) == len(arrays["tri_mask2"]) > 300
    assert all(frozenset(row) in known for row in model.front_faces.tolist())
    direct = arrays["tri_mask2"].astype(int) - 1
    assert not all(frozenset(row) in known for row in direct.tolist())
    # all of its corners, and no vertex outside, are in the front
    assert model.front[model.front_faces].all()
    assert model.front.sum() == arrays["frontmask2_idx"].size < len(model.mean)


def test_front_triangles_of_another_mesh_are_refused(arrays):
    n = arrays["frontmask2_idx"].size
    wrong = with_value(arrays["tri_mask2"], (5, 1), n)
    with pytest.raises(
        ModelFormatError, match=r"tri_mask2: 1 of \d+ rows, counted in frontmask2_idx"
    ):
        front_model(arrays | {"tri_mask2": wrong})
    beyond = with_value(arrays["tri_mask2"], (5, 1), n + 1)
    with pytest.raises(ModelFormatError, match=rf"there are {n} vertices in frontmask2_idx"):
        front_model(arrays | {"tri_mask2": beyond})


def test_none_in_the_rings_is_the_triangle_after_the_last(arrays):
    """F + 1 stands for a zero normal: with it, sums over the rings are sums over the triangles."""
    model = front_model(arrays)
    count = len(model.faces)
    assert (arrays["point_buf"] == count + 1).any()
    points, faces = torch.from_numpy(model.mean).double(), torch.from_numpy(model.faces)
    unit = torch.nn.functional.normalize(face_normals(points, faces), dim=1)
    padded = torch.cat([unit, torch.zeros(1, 3, dtype=torch.float64)])
    by_rings = padded[torch.from_numpy(arrays["point_buf"]).long() - 1].sum(dim=1)
    by_faces = torch.zeros_like(points)
    for k in range(3):
        by_faces.index_add_(0, faces[:, k], unit)
    assert torch.allclose(by_rings, by_faces, atol=1e-12)


def test_rings_of_another_mesh_are_refused(arrays):
    count = len(arrays["tri"])
    vertex = int(np.flatnonzero((arrays["point_buf"] == count + 1).any(axis=1))[0])
    beyond = with_value(arrays["point_buf"], (vertex, 7), count + 2)
    with pytest.raises(ModelFormatError, match=rf"point_buf: values 1 to {count + 2}"):
        front_model(arrays | {"point_buf": beyond})
    elsewhere = with_value(arrays["point_buf"], (0, 7), count)
    with pytest.raises(ModelFormatError, match=r"point_buf: 1 of .* vertex 1, triangle"):
        front_model(arrays | {"point_buf": elsewhere})


# The raw set.


def test_raw_and_converted_are_the_same_model(tmp_path):
    """More modes than Deep3D keeps in each of the files."""
    raw = raw_set(3, identities=83, expressions=66, colours=81)
    write_raw(tmp_path, raw)
    (tmp_path / "converted").mkdir()
    savemat(tmp_path / "converted" / "BFM_model_front.mat", converted(raw))
    a, b = imported(tmp_path), imported(tmp_path / "converted")
    assert (a.n_identity, a.n_expression, a.n_albedo) == (80, 64, 80)
    assert a.expression_names[:2] == ("exp00", "exp01")
    assert a.expression_names[63] == "exp63"
    for field in ("mean", "identity_basis", "expression_basis"):
        assert (getattr(a, field) - getattr(b, field)).abs().max() < 2e-5  # mm
    for field in ("albedo_mean", "albedo_basis"):
        assert torch.allclose(getattr(a, field), getattr(b, field), atol=1e-5)
    for field in ("faces", "uv", "jaw_contour"):
        assert torch.allclose(getattr(a, field), getattr(b, field))
    assert {n for n, _ in a.info.files} == {
        *("01_MorphableModel.mat", "Exp_Pca.bin", "std_exp.txt", "BFM_exp_idx.mat"),
        *("BFM_front_idx.mat", "facemodel_info.mat"),
    }


def test_expression_modes_by_hand(tmp_path):
    path = tmp_path / "Exp_Pca.bin"
    mean, modes = np.full(6, 9.0, "<f4"), np.arange(18, dtype="<f4")
    path.write_bytes(np.int32(3).tobytes() + mean.tobytes() + modes.tobytes())
    found = expression_modes(path, 2, most=2)
    assert found.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "states 0 modes"),
        (b"\x4f\x00\x00\x00" + bytes(96), "states 79 modes of 2 vertices, which takes 1924 bytes"),
        (b"\x03\x00\x00\x00" + bytes(95), "but it has 99"),
        (b"\xff\xff\xff\xff" + bytes(96), "states -1 modes"),
        (b"\xff\xff\xff\x7f" + bytes(96), "states 2147483647 modes"),
    ],
)
def test_a_wrong_length_of_expressions_is_said(tmp_path, content, says):
    path = tmp_path / "Exp_Pca.bin"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match=says):
        expression_modes(path, 2, most=64)


def test_incomplete_raw_sets_are_refused(tmp_path):
    raw = raw_set()
    path = write_raw(tmp_path, raw)
    (tmp_path / "std_exp.txt").write_text("1.0 2.0", encoding="ascii")
    with pytest.raises(ModelFormatError, match=r"std_exp.txt: 2 numbers, but Exp_Pca.bin needs 4"):
        imported(path)
    (tmp_path / "std_exp.txt").write_text("1.0 two", encoding="ascii")
    with pytest.raises(ModelFormatError, match=r"std_exp.txt: expected numbers"):
        imported(path)
    (tmp_path / "std_exp.txt").unlink()
    with pytest.raises(ModelFormatError, match=r"of which std_exp.txt is missing; --extras"):
        imported(tmp_path)
    other = tmp_path / "companions"
    other.mkdir()
    (other / "std_exp.txt").write_text(" ".join(map(str, raw.deviations)), encoding="ascii")
    assert imported(path, extras=other).n_expression == 4


# Units, refusals, and what is made.


def test_one_vertex_by_hand(tmp_path, arrays):
    """Decimetres to mm about the mean vertex; modes as they are; 0..255 to linear light."""
    path = write_bfm09(tmp_path).path
    model = imported(path)
    mean = arrays["meanshape"].reshape(-1, 3).astype(np.float64)
    assert torch.allclose(model.mean[7].double(), torch.tensor(100.0 * (mean[7] - mean.mean(0))))
    assert float(model.identity_basis[2, 3 * 7 + 1]) == pytest.approx(
        100.0 * float(arrays["idBase"][3 * 7 + 1, 2])
    )
    assert float(model.mean.mean(dim=0).abs().max()) < 1e-4
    assert not model.expression_is_blendshape
    assert not model.info.commercial
    assert int(model.regions["even_skin"].sum()) == int(arrays["skinmask"].sum())
    assert int(model.regions["front"].sum()) == arrays["frontmask2_idx"].size
    assert "skin" in model.regions


@pytest.mark.parametrize(
    ("key", "change", "says"),
    [
        ("idBase", lambda a: a[:-3], r"idBase: expected \(\d+, modes\) for \d+ vertices, got"),
        ("exBase", lambda a: a * np.nan, "exBase: expected values in"),
        ("texBase", lambda a: a * 1e6, "texBase: expected values in"),
        ("meanshape", lambda a: a * 1e5, "meanshape: expected values in"),
        ("meanshape", lambda a: a[:, :-1], r"meanshape: expected \(1, 3 N\)"),
        ("meantex", lambda a: a[:, :-3], "meantex: expected"),
        ("tri", lambda a: a - 1, "tri: values 0 to"),
        ("tri", lambda a: a + 0.5, "tri: "),
        ("tri", lambda a: a[:, :2], r"tri: expected \(rows, 3\)"),
        ("keypoints", lambda a: a[:, :67], "keypoints: expected 68 vertices"),
        ("point_buf", lambda a: a[:, :7], "point_buf: expected"),
        ("skinmask", lambda a: a[:, :-1], "skinmask: expected"),
        ("frontmask2_idx", lambda a: a * 0, "frontmask2_idx: values 0 to 0"),
    ],
)
def test_what_is_off_is_named(tmp_path, arrays, key, change, says):
    path = tmp_path / "BFM_model_front.mat"
    savemat(path, arrays | {key: change(arrays[key])})
    with pytest.raises(ModelFormatError, match=says) as caught:
        imported(path)
    assert "BFM_model_front.mat" in str(caught.value)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_needed(arrays, key):
    with pytest.raises(ModelFormatError, match=f"missing {key}"):
        front_model({k: v for k, v in arrays.items() if k != key})


def test_other_files_are_refused(tmp_path, arrays):
    other = tmp_path / "other.mat"
    savemat(other, {"lm": np.zeros((68, 3))})
    with pytest.raises(ModelFormatError, match=r"missing meanshape, .*it holds lm"):
        imported(other)
    savemat(other, arrays | {"tri": np.array([[{"a": 1}]], dtype=object)})
    with pytest.raises(ModelFormatError, match="tri: expected an array of numbers, got object"):
        imported(other)
    other.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ModelFormatError, match=r"MATLAB 7.3 file \(HDF5\).*-v7"):
        imported(other)
    other.write_bytes(b"no matrix at all" * 40)
    with pytest.raises(ModelFormatError, match="not readable"):
        imported(other)
    with pytest.raises(ModelFormatError, match=r"expected BFM_model_front.mat, or the raw set"):
        imported(tmp_path)


def test_indices_from_one():
    assert indices("k", np.array([[3.0, 1.0]]), 3, "vertices").tolist() == [2, 0]
    assert indices("k", np.array([[3.0, 1.0]]), 3, "vertices", width=2).tolist() == [[2, 0]]
    with pytest.raises(ValueError, match="k: values 1 to 4, but there are 3 vertices"):
        indices("k", np.array([1, 4]), 3, "vertices")
    with pytest.raises(ValueError, match="fractions"):
        indices("k", np.array([1.5]), 3, "vertices")


def test_our_chart_has_no_folds_and_little_distortion(tmp_path):
    """No triangle flipped, none upon another; texels spread within bounds over the face."""
    model = imported(write_bfm09(tmp_path).path)
    quality = chart_quality(model.mean, model.faces, model.uv, model.uv_faces)
    assert torch.equal(model.uv_faces, model.faces)
    assert quality.flipped == 0
    assert overlaps(model.uv, model.uv_faces) == 0
    assert quality.used > 0.75
    low, high = np.quantile(quality.area_ratio.numpy(), [0.05, 0.95])
    assert low > 0.35
    assert high < 2.0
    assert float(quality.anisotropy.median()) < 1.7
    assert float(quality.anisotropy.quantile(0.95)) < 3.0


def test_colours_are_carried_into_the_chart(tmp_path):
    """Mean and modes of our own raster; no black outside of the chart."""
    written = write_bfm09(tmp_path)
    model = imported(written.path)
    assert model.albedo_mean.shape == (512, 512, 3)
    assert model.albedo_basis.shape == (6, 256, 256, 3)
    assert float(model.albedo_mean.min()) > 0.02
    assert written.colour is not None
    at = (model.uv * 512).long().clamp_max(511)
    expected = torch.tensor(written.colour(np.zeros(6)))
    assert (model.albedo_mean[at[:, 1], at[:, 0]] - expected).abs().max() < 0.02
    at = (model.uv * 256).long().clamp_max(255)
    for k in range(6):
        one = torch.tensor(written.colour(np.eye(6)[k])) - expected
        assert (model.albedo_basis[k, at[:, 1], at[:, 0]] - one).abs().max() < 0.01
    assert loadmat(written.path)["meantex"].max() > 100.0  # 0..255 in the file
