"""Models by name are opened once, and again when their file changes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import pytest
import torch

from hrnfit.fit.named_model import model_and_file
from hrnfit.model.load import save_model
from tests.fit.cap_model import cap


@pytest.fixture
def saved(tmp_path):
    generator = torch.Generator().manual_seed(3)
    model = cap(generator)
    path = tmp_path / "cap.npz"
    save_model(model, path)
    return model, path


def test_an_object_is_itself(saved):
    model, _ = saved
    assert model_and_file(model) == (model, {})


def test_a_file_is_opened_once(saved):
    _, path = saved
    model, file = model_and_file(path)
    assert file == {
        "path": str(path.resolve()),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert model_and_file(str(path))[0] is model


def test_a_file_that_changed_is_opened_again(saved):
    model, path = saved
    first, file = model_and_file(path)
    save_model(replace(model, mean=model.mean + 1.0), path)
    os.utime(path, ns=(1, 1))
    second, now = model_and_file(path)
    assert now["sha256"] != file["sha256"]
    assert not torch.equal(second.tangent(*zeros(second)).shape, first.tangent(*zeros(first)).shape)


def test_a_model_that_was_changed_in_place_is_opened_again(saved):
    model, path = saved
    first, _ = model_and_file(path)
    first.mean.add_(1.0)
    second, _ = model_and_file(path)
    assert second is not first
    assert torch.equal(second.mean, model.mean)
    assert model_and_file(path)[0] is second


def zeros(model):
    return torch.zeros(model.n_identity), torch.zeros(model.n_expression)


def test_the_packaged_model_has_no_path():
    model, file = model_and_file("generic")
    assert set(file) == {"sha256"}
    assert model_and_file("generic")[0] is model


def test_an_unknown_name_is_an_error():
    with pytest.raises(FileNotFoundError, match="no model of that name"):
        model_and_file("no_such_model")
