"""`hrnfit licences`: what is installed, what a commercial fit takes and refuses, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hrnfit import cli, cli_licences
from hrnfit.fit import licensing
from hrnfit.licences import known_part
from hrnfit.model import store
from hrnfit.model.ict_head import INFO
from hrnfit.model.load import save_model
from hrnfit.render import backend
from tests.model.faces import small_model


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's folder with models of three kinds of terms."""
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path))
    model = small_model()
    basel = replace(
        model.info, name="basel", licence="Basel [research]", commercial=False, kind="bfm09"
    )
    doubt = replace(model.info, name="doubt", licence="CC BY-NC 4.0", commercial=True)
    for info in (basel, doubt, replace(INFO, name="ict")):
        save_model(replace(model, info=info), store.models_folder() / f"{info.name}.npz")
    return tmp_path


def shown(capsys, *arguments: str) -> str:
    cli.main(["licences", *arguments])
    return capsys.readouterr().out


def test_models_in_use_are_shown_with_their_terms_and_what_is_refused(home, capsys):
    text = shown(capsys)
    assert "Basel [research]" in text
    assert "hrnfit fit --commercial takes the models: generic, ict" in text
    assert "it refuses model basel: instead --model generic" in text
    assert "it refuses model doubt" in text
    assert "The file permits commercial use, but its terms say 'BY-NC'" in text
    assert "Copyright (c) 2020 USC" in text
    assert "no legal advice" in text
    assert "hrnfit fit without options may be used commercially" in text


def test_json_says_the_same(home, capsys):
    found = json.loads(shown(capsys, "--json"))
    assert found["commercial"]["models"] == ["generic", "ict"]
    assert [row["name"] for row in found["commercial"]["refused"]] == ["basel", "doubt"]
    assert found["commercial"]["default_fit_permitted"] is True
    parts = {(row["kind"], row["name"]): row for row in found["parts"]}
    assert parts["model", "basel"]["commercial"] == "no"
    assert parts["model", "doubt"]["commercial"] == "ask"
    assert parts["renderer", "cpu"]["licence"] == "Apache-2.0"
    assert "packages" not in found


def test_all_lists_the_packages_and_marks_those_to_look_at(home, capsys):
    found = json.loads(shown(capsys, "--json", "--all"))
    packages = {row["name"]: row for row in found["packages"]}
    assert packages["torch"]["terms"] == "permissive"
    assert packages["torch"]["look"] is False
    text = shown(capsys, "--all")
    assert "to look at: " in text
    assert "kornia" in text


def test_with_a_gpu_and_no_triton_the_usual_fit_is_not_for_commercial_use(
    monkeypatch, home, capsys
):
    renderer = known_part("renderer", "nvdiffrast")
    monkeypatch.setattr(backend, "find_spec", lambda module: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(licensing, "is_installed", lambda part: part == renderer)
    monkeypatch.setattr(
        "hrnfit.licences.is_installed", lambda part: part == renderer or part.needed
    )
    text = shown(capsys)
    assert "hrnfit fit without options is not for commercial use here: nvdiffrast" in text
    assert "it refuses renderer nvdiffrast: instead --device cpu" in text


def test_a_model_that_cannot_be_read_is_named_and_hides_nothing(home, capsys):
    (store.models_folder() / "hurt.npz").write_bytes(b"nothing")
    text = shown(capsys)
    assert "model hurt cannot be read" in text
    assert "Basel [research]" in text
    assert "hurt" in json.loads(shown(capsys, "--json"))["unreadable_models"]


def test_a_refused_fit_is_one_sentence_on_the_command_line(home, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        cli.main(
            [
                "fit",
                "absent.png",
                "--model",
                "basel",
                "--commercial",
                "--quiet",
                "--out",
                str(tmp_path / "o"),
            ]
        )
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "hrnfit: error: commercial use was asked for, but this fit would use the model"
    )
    assert "--model generic" in said
    assert said.count("\n") == 1


def test_nothing_refused_says_so():
    lines = cli_licences.verdict([known_part("renderer", "cpu")])
    assert not any("refuses" in line for line in lines)
    assert "hrnfit fit --commercial takes the models: none" in lines
