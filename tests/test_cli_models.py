"""`hrnfit models`: adding, listing, showing, measuring."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit import cli_models
from hrnfit.fit import dense_landmarks
from hrnfit.model import store
from hrnfit.model.load import load_model, save_model
from hrnfit.observe import landmarks
from tests.importers.write_flame import write_flame
from tests.model.faces import landmark_set, small_model


@pytest.fixture
def added(tmp_path, monkeypatch):
    """A user folder with one model, `studio`."""
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path / "home"))
    save_model(small_model(), tmp_path / "given.npz")
    cli_models.main(["add", "npz", str(tmp_path / "given.npz"), "--name", "studio"])
    return tmp_path


def test_added_models_are_listed_and_shown(added, capsys):
    assert load_model("studio").info.name == "studio"
    capsys.readouterr()
    cli_models.main(["list"])
    assert "studio" in capsys.readouterr().out
    cli_models.main(["info", "studio"])
    shown = capsys.readouterr().out
    assert "Apache-2.0" in shown
    assert "expression2" in shown


def test_words_that_contradict_the_flag_are_shown(added, capsys):
    model = small_model()
    doubt = replace(model.info, licence="CC BY-NC 4.0", commercial=True)
    save_model(replace(model, info=doubt), added / "doubt.npz")
    cli_models.main(["add", "npz", str(added / "doubt.npz"), "--name", "doubt"])
    assert "but its terms say 'BY-NC'" in " ".join(capsys.readouterr().out.split())
    cli_models.main(["info", "doubt"])
    assert "ask whom it is from" in " ".join(capsys.readouterr().out.replace("│", "").split())
    cli_models.main(["list"])
    assert "ask" in capsys.readouterr().out


def test_adding_tells_the_next_step(added, capsys):
    cli_models.main(["add", "npz", str(added / "given.npz"), "--name", "second"])
    assert "hrnfit models landmarks second" in capsys.readouterr().out


def test_a_taken_name_needs_a_word(added):
    again = ["add", "npz", str(added / "given.npz"), "--name", "studio"]
    with pytest.raises(ValueError, match="--replace-existing"):
        cli_models.main(again)
    cli_models.main([*again, "--replace-existing"])


def test_broken_models_are_listed_as_such(added, capsys):
    (store.models_folder() / "hurt.npz").write_bytes(b"nothing")
    cli_models.main(["list"])
    assert "broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "nzp", "given.npz"], "kind 'nzp': not known; did you mean 'npz'"),
        (["add", "ict", "given.npz", "--part", "hair"], "part: expected face or head"),
        (["add", "npz", "given.npz", "--name", "generic"], "taken"),
        (["add", "npz", "absent.npz"], r"^absent\.npz: no such file or folder; check the path$"),
        (["info", "studi"], "did you mean 'studio'"),
    ],
)
def test_messages(added, monkeypatch, arguments, message):
    monkeypatch.chdir(added)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        cli_models.main(arguments)


def test_a_folder_of_models_with_other_things_in_it_is_listed(added, capsys):
    folder = store.models_folder()
    (folder / ".studio-1a2b.npz").write_bytes(b"half")
    (folder / "folder.npz").mkdir()
    (folder / "gone.npz").symlink_to(folder / "nowhere")
    cli_models.main(["list"])
    shown = capsys.readouterr().out
    assert "studio" in shown
    assert "1a2b" not in shown
    assert "gone" not in shown


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
def test_a_pipe_is_no_model(added):
    os.mkfifo(added / "pipe.npz")
    for kind in ("npz", "flame", "bfm09"):
        with pytest.raises(ValueError, match="neither a file nor a folder"):
            cli_models.main(["add", kind, str(added / "pipe.npz"), "--name", "piped"])
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        load_model(added / "pipe.npz")


@pytest.mark.parametrize("name", ["nul", "COM1", "x" * 65])
def test_names_that_no_folder_takes_everywhere(added, name):
    with pytest.raises(ValueError, match="model name"):
        cli_models.main(["add", "npz", str(added / "given.npz"), "--name", name])


def test_extras_must_be_a_folder(added):
    given = ["add", "bfm09", str(added / "given.npz"), "--extras", str(added / "typo")]
    with pytest.raises(FileNotFoundError, match="typo: no such folder"):
        cli_models.main(given)


def test_measured_landmarks_are_written_into_the_file(added, monkeypatch, capsys):
    triangles, weights = torch.full((478,), -1), torch.zeros(478, 3)
    triangles[0], weights[0, 1] = 4, 1.0
    marks = landmark_set(triangles, weights)
    calls: list[int] = []

    def measured(model, detect, rasterizer, settings, progress):
        calls.append(settings.samples)
        progress(1, 2)
        return marks

    class NoDetector:
        def detect(self, image):
            return None

    monkeypatch.setattr(dense_landmarks, "measure_landmarks", measured)
    monkeypatch.setattr(landmarks, "MediaPipeDetector", NoDetector)
    cli_models.main(["landmarks", "studio", "--samples", "2"])
    assert calls == [2]
    found = load_model("studio").landmarks
    assert found["mediapipe478"].triangles[:2].tolist() == [4, -1]
    assert "ibug68" in found
    assert "1 of 478 points" in capsys.readouterr().out


def test_foreign_files_are_not_written_into(added):
    np.savez(added / "foreign.npz", mean=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="missing format"):
        cli_models.main(["landmarks", str(added / "foreign.npz")])
    with pytest.raises((ValueError, FileNotFoundError), match="generic"):
        cli_models.main(["landmarks", "generic"])


def test_a_head_with_joints_is_added_under_the_licence_that_was_accepted(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path / "home"))
    write_flame(tmp_path)
    path = str(tmp_path / "generic_model.pkl")
    cli_models.main(["add", "flame", path, "--licence", "cc-by-4.0", "--name", "head"])
    assert "CC-BY 4.0" in capsys.readouterr().out
    cli_models.main(["info", "head"])
    shown = capsys.readouterr().out
    assert "jaw_x" in shown
    assert "left_eye_z" in shown
    with pytest.raises(ValueError, match="licence: the kind 'npz' has no such option"):
        cli_models.main(["add", "npz", path, "--licence", "cc-by-4.0", "--name", "other"])
