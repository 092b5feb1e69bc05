"""Parts of a large npz."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.npz_bands import npz_shapes, read_npz_bands, read_npz_keys


@pytest.fixture
def path(tmp_path):
    rows = np.arange(24.0).reshape(6, 4)
    np.savez(tmp_path / "a.npz", rows=rows, turned=np.asfortranarray(rows), few=np.arange(3))
    return tmp_path / "a.npz"


def test_shapes_and_some_arrays(path):
    assert npz_shapes(path) == {"rows": (6, 4), "turned": (6, 4), "few": (3,)}
    found = read_npz_keys(path, ["few"])
    assert list(found) == ["few"]
    assert found["few"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("key", ["rows", "turned"])
def test_bands_are_rows_in_order(path, key):
    bands = list(read_npz_bands(path, key, 8))
    assert [band.tolist() for band in bands] == [list(range(k, k + 8)) for k in (0, 8, 16)]


def test_bands_must_divide_the_array(path):
    with pytest.raises(ModelFormatError, match="24 numbers are no bands of 7"):
        list(read_npz_bands(path, "rows", 7))


def test_a_missing_key_is_named(path):
    with pytest.raises(ModelFormatError, match=r"not a readable npz .*other\.npy"):
        read_npz_keys(path, ["other"])


def test_headers_are_not_believed(path, tmp_path):
    with zipfile.ZipFile(path) as archive:
        content = archive.read("rows.npy")
    harmed = tmp_path / "b.npz"
    with zipfile.ZipFile(harmed, "w") as archive:
        archive.writestr("rows.npy", content.replace(b"(6, 4)", b"(9, 4)"))
    with pytest.raises(ModelFormatError, match="needs 288 bytes, the entry has 192"):
        npz_shapes(harmed)
    with pytest.raises(ModelFormatError, match=r"b\.npz: not a readable npz"):
        list(read_npz_bands(harmed, "rows", 4))


def test_objects_are_refused(tmp_path):
    np.savez(tmp_path / "c.npz", rows=np.array([{}], dtype=object))
    with pytest.raises(ModelFormatError, match="expected numbers"):
        npz_shapes(tmp_path / "c.npz")
