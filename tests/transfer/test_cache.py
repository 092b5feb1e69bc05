"""Correspondences are found once per pair of faces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.transfer import cache
from tests.transfer.faces import COARSE, DENSE, face


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path))
    return tmp_path


def test_the_second_time_is_read_and_equal(home, monkeypatch):
    target, source = face(DENSE), face(COARSE)
    first, cached = cache.cached_correspondence(target, source)
    assert not cached
    assert cache.cache_file(target, source).is_file()
    assert cache.cache_file(target, source).parent == home / "correspondences"
    monkeypatch.setattr(cache, "find_correspondence", None)  # would fail if it were called
    second, cached = cache.cached_correspondence(target, source)
    assert cached
    for name, value in vars(first).items():
        assert torch.equal(getattr(second, name), value), name


def test_another_mean_other_landmarks_and_the_way_back_are_other_files(home):
    target, source = face(DENSE), face(COARSE)
    marks = target.landmarks["ibug68"]
    fewer = replace(marks, triangles=torch.where(torch.arange(68) < 60, marks.triangles, -1).int())
    others = [
        (replace(target, vertices=target.vertices + 1.0), source),
        (replace(target, landmarks={"ibug68": fewer}), source),
        (replace(target, faces=target.faces.roll(1, 0)), source),
        (source, target),
    ]
    names = {cache.cache_file(*pair).name for pair in [(target, source), *others]}
    assert len(names) == 5


@pytest.mark.parametrize("damage", ["cut", "text", "other mesh", "NaN"])
def test_a_damaged_file_is_found_anew(home, damage, monkeypatch):
    target, source = face(DENSE), face(COARSE)
    known, _ = cache.cached_correspondence(target, source)
    path = cache.cache_file(target, source)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "text":
        path.write_text("no npz")
    elif damage == "other mesh":
        cache.save_npz(path, vars(known) | {"triangles": known.triangles[:-1]})
    else:
        cache.save_npz(path, replace(known, registered=known.registered * torch.nan))
    calls = []
    monkeypatch.setattr(cache, "find_correspondence", lambda *a: calls.append(1) or known)
    found, cached = cache.cached_correspondence(target, source)
    assert (cached, calls) == (False, [1])
    assert torch.equal(found.triangles, known.triangles)
    assert cache.cached_correspondence(target, source)[1]


def test_a_folder_that_cannot_be_written_costs_the_cache_only(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("HRNFIT_HOME", str(blocked))
    target, source = face(COARSE), face(COARSE)
    found, cached = cache.cached_correspondence(target, source)
    assert not cached
    assert bool(found.valid.any())
