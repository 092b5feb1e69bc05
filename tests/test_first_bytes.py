"""Files are told by their first bytes, whatever they are called."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from hrnfit.first_bytes import NEVER, SIGNS, container_of

SAMPLES = {
    "page.pth": (b"\n<!DOCTYPE html><html>login</html>", "a web page"),
    "pointer.bin": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
    "new.pth": (pickle.dumps({"a": 1}, protocol=4), "a pickle"),
    "archive.pth": (bytes(257) + b"ustar\0" + bytes(249), "a tar archive"),
    "packed.pth": (b"\x1f\x8b\x08rest", "a gzip file"),
    "numbers.pth": (bytes(600), ""),
    "nothing.pth": (b"", ""),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_first_bytes_tell(tmp_path, name):
    content, expected = SAMPLES[name]
    (tmp_path / name).write_bytes(content)
    assert container_of(tmp_path / name) == expected


def test_files_of_their_own_writers(tmp_path):
    torch.save({}, tmp_path / "a")
    torch.save({}, tmp_path / "b", _use_new_zipfile_serialization=False)
    save_file({"a": torch.zeros(300)}, tmp_path / "c", {"note": "n" * 300})
    with zipfile.ZipFile(tmp_path / "d", "w") as archive:
        archive.writestr("a", "text")
    found = [container_of(tmp_path / name) for name in "abcd"]
    assert found == ["an npz or zip file", "a pickle", "a safetensors file", "an npz or zip file"]


def test_what_is_never_data_is_a_sign():
    assert set(NEVER) <= {name for _, name in SIGNS}
