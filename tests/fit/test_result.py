"""The result as a value: what it answers, and that saving and loading gives the same one back."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import pytest
import torch

from hrnfit.fit.archive import FORMAT, load_result, save_archive
from hrnfit.fit.result import LEVELS, FitResult
from hrnfit.solve.solver import Outcome
from tests.fit.small_result import make_result


@pytest.fixture(scope="module")
def result() -> FitResult:
    return make_result(views=3, frames=2)


@pytest.fixture(scope="module")
def loaded(result, tmp_path_factory) -> FitResult:
    folder = tmp_path_factory.mktemp("archive")
    save_archive(result, folder, {})
    return load_result(folder)


def test_mesh_defaults_to_the_fine_surface_of_the_first_views_frame(result):
    assert result.mesh() is result.meshes["fine"][0]
    assert result.mesh("mid", 1) is result.meshes["mid"][1]
    second_first = replace(result, sharing=replace(result.sharing, frame=torch.tensor([1, 0, 1])))
    assert second_first.mesh("coarse") is result.meshes["coarse"][1]


def test_mesh_names_what_is_wrong(result):
    with pytest.raises(ValueError, match="level: expected one of coarse, mid, fine, got 'detail'"):
        result.mesh("detail")
    with pytest.raises(ValueError, match=r"frame: expected 0\.\.1, got 2"):
        result.mesh("mid", 2)


def test_landmarks_are_those_of_the_exported_meshes(result):
    assert set(result.landmarks) == {"ibug68"}
    for level in LEVELS:
        assert result.landmarks["ibug68"][level] is result.mesh(level).landmarks["ibug68"]


def test_a_notebook_shows_a_result_in_a_few_words(result):
    shown = repr(result)
    assert ", ".join(result.view_names) in shown
    assert f"fine {len(result.mesh('fine').vertices)}" in shown
    for value in (result, result.state, result.mesh(), result.maps):
        assert len(repr(value)) < 500
        assert "tensor(" not in repr(value)


def test_outcome_is_that_of_the_last_stage(result):
    assert result.outcome is Outcome.NON_FINITE
    assert replace(result, stages=()).outcome is None


def test_state_comes_back_to_the_bit(result, loaded):
    for field in fields(result.state):
        before, after = getattr(result.state, field.name), getattr(loaded.state, field.name)
        assert before.dtype == after.dtype, field.name
        assert torch.equal(before, after), field.name
    for name in ("frame", "light", "displacement"):
        assert torch.equal(getattr(result.sharing, name), getattr(loaded.sharing, name))


def test_double_precision_survives(result, tmp_path):
    double = replace(result, state=result.state.to(torch.float64))
    save_archive(double, tmp_path, {})
    assert torch.equal(load_result(tmp_path).state.identity, double.state.identity)


def test_cameras_meshes_and_maps_come_back(result, loaded):
    for before, after in zip(result.cameras, loaded.cameras, strict=True):
        assert torch.equal(before.K, after.K)
        assert torch.equal(before.distortion, after.distortion)
        assert torch.equal(before.T_cam_world, after.T_cam_world)
        assert (before.height, before.width, before.name) == (after.height, after.width, after.name)
    for level in LEVELS:
        for before, after in zip(result.meshes[level], loaded.meshes[level], strict=True):
            assert after.name == level
            for name in ("vertices", "normals", "faces", "uv", "uv_faces"):
                assert torch.equal(getattr(before, name), getattr(after, name))
            assert torch.equal(before.landmarks["ibug68"], after.landmarks["ibug68"])
    for field in fields(result.maps):
        assert torch.equal(getattr(result.maps, field.name), getattr(loaded.maps, field.name))


def test_words_and_numbers_come_back(result, loaded):
    for name in ("view_names", "view_residuals", "seconds", "warnings", "camera_known"):
        assert getattr(loaded, name) == getattr(result, name), name
    assert loaded.provenance == result.provenance
    assert loaded.photographs == result.photographs
    assert torch.equal(loaded.observed[1].points, result.observed[1].points)
    assert loaded.observed[1].scheme == "ibug68"
    assert loaded.stages[:2] == result.stages[:2]


def test_energies_that_are_no_numbers_come_back_as_such(loaded):
    last = loaded.stages[-1]
    assert last.energies[:2] == (0.2, 0.15)
    assert math.isnan(last.energies[2])


def test_views_without_landmarks_keep_their_place(result, tmp_path):
    partial = replace(result, observed=(None, result.observed[1], None))
    save_archive(partial, tmp_path, {})
    back = load_result(tmp_path).observed
    assert back[0] is None
    assert back[2] is None
    assert torch.equal(back[1].points, result.observed[1].points)


def test_the_json_is_strict_and_says_what_it_is(result, tmp_path):
    save_archive(result, tmp_path, {"files": ["a"]})

    def reject(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    text = (tmp_path / "result.json").read_text(encoding="utf-8")
    document = json.loads(text, parse_constant=reject)
    assert document["format"] == FORMAT
    assert document["files"] == ["a"]
    assert [view["frame"] for view in document["views"]] == [0, 1, 0]
    assert document["outcome"]["name"] == "NON_FINITE"
    assert "lower the rates" in document["outcome"]["message"]
    assert document["meshes"]["fine"] == {"vertices": 49 * 49, "faces": 2 * 48 * 48}


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no result\.json in it; give a folder"):
        FitResult.load(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match="not readable as JSON"):
        FitResult.load(tmp_path)
    (tmp_path / "result.json").write_text('{"format": "other"}')
    with pytest.raises(ValueError, match="expected format 'hrnfit-result-1', got 'other'"):
        FitResult.load(tmp_path)


def test_neutral_without_a_model_says_how_to_give_one(result):
    anonymous = replace(result, provenance={})
    with pytest.raises(ValueError, match="does not say which model"):
        anonymous.mesh("mid", neutral=True)
