"""Files are told by their first bytes, and each refusal says as what to add them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from hrnfit.importers.kinds import KINDS, import_model
from hrnfit.model.containers import READ_AS, check_container, container_of
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.load import load_model
from tests.importers.test_conformance import WRITERS

SAMPLES = {
    "page.pkl": (b"\n<!DOCTYPE html><html>login</html>", "a web page"),
    "pointer.mat": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
    "old.pkl": (b"(dp0\nS'a'\n", "a pickle"),
    "new.pkl": (pickle.dumps({"a": 1}, protocol=4), "a pickle"),
    "nothing.bin": (b"", ""),
    "text.txt": (b"some words", ""),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_first_bytes_tell(tmp_path, name):
    content, expected = SAMPLES[name]
    (tmp_path / name).write_bytes(content)
    assert container_of(tmp_path / name) == expected


def test_every_kind_of_a_container_is_a_kind():
    assert {kind for kinds in READ_AS.values() for kind in kinds} == set(KINDS)


@pytest.mark.parametrize("kind", ["ict", "bfm09", "bfm17", "faceverse", "hifi3d", "flame"])
def test_a_file_goes_with_its_own_kind_only(kind, tmp_path):
    path = WRITERS[kind](tmp_path).path
    check_container(path, kind)
    own = READ_AS[container_of(path)]
    assert kind in own
    for other in set(KINDS) - set(own):
        with pytest.raises(ModelFormatError, match=f"the kind '{other}' is another; add it as"):
            import_model(other, path, "x")
    if kind != "ict":
        with pytest.raises(
            ModelFormatError, match=rf"hrnfit models add {own[0]} .*--model {own[0]}"
        ):
            load_model(path)


@pytest.mark.parametrize("name", ["page.pkl", "pointer.mat"])
def test_downloads_that_are_none_say_what_to_do(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(SAMPLES[name][0])
    for kind in ("bfm09", "flame", "npz"):
        with pytest.raises(ModelFormatError, match=r"no model; (the download|fetch the file)"):
            import_model(kind, path, "x")
    with pytest.raises(ModelFormatError, match="no model"):
        load_model(path)


def test_what_is_not_recognised_is_left_to_the_reader(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(2))
    check_container(path, "npz")
    (tmp_path / "odd").write_bytes(b"odd")
    check_container(tmp_path / "odd", "bfm09")
