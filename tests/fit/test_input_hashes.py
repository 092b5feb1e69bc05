"""Hashes of inputs: of files and of arrays by their bytes, in order, however they are given."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from hrnfit.fit.input_hashes import input_hashes


def of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_files_and_arrays_in_order(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"not looked at")
    array = np.arange(24, dtype=np.uint16).reshape(2, 4, 3)
    tensor = torch.arange(6.0).reshape(1, 2, 3)
    expected = [
        {"path": str(path), "sha256": of(b"not looked at")},
        {"path": "", "sha256": of(array.tobytes())},
        {"path": "", "sha256": of(tensor.numpy().tobytes())},
    ]
    assert input_hashes([path, array, tensor]) == expected
    assert input_hashes({"x": path, "y": array, "z": tensor}) == expected
    assert input_hashes(path) == expected[:1]
    assert input_hashes(tensor) == expected[2:]


@pytest.mark.parametrize("turn", [lambda a: a[:, ::-1], lambda a: a.T, np.asfortranarray])
def test_an_array_counts_in_the_order_of_its_rows(turn):
    array = turn(np.arange(12, dtype=np.float32).reshape(3, 4))
    assert input_hashes([array])[0]["sha256"] == of(np.ascontiguousarray(array).tobytes())


def test_a_file_that_is_gone_has_the_hash_of_nothing(tmp_path):
    gone = tmp_path / "gone.png"
    assert input_hashes(gone) == [{"path": str(gone), "sha256": of(b"")}]
