"""The command line: what reaches `fit`, what is said, and how errors read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hrnfit import cli
from hrnfit.licences import LicenceError


@dataclass
class Recorded:
    """Stands for the fit: keeps its arguments, and hands back a result that keeps its folder."""

    calls: list[dict] = field(default_factory=list)
    saved: list[Path] = field(default_factory=list)
    view_names = ("a",)
    warnings = ("view 'b' is left out: too dark",)
    stages = ()
    seconds = 1.0
    provenance = {  # noqa: RUF012
        "licences": [
            {"kind": "code", "name": "hrnfit", "licence": "Apache-2.0", "commercial": "yes"},
            {"kind": "model", "name": "basel", "licence": "research", "commercial": "no"},
        ]
    }

    def __call__(self, images, cameras, **options):
        self.calls.append({"images": images, "cameras": cameras, **options})
        if options["progress"]:
            event = type("Event", (), {"stage": "coarse", "index": 0, "count": 1, "steps": 5})
            event.step, event.energy = 2, 0.5
            options["progress"](event)
        return self

    def save(self, folder):
        self.saved.append(folder)


@pytest.fixture
def recorded(monkeypatch):
    fit = Recorded()
    monkeypatch.setattr("hrnfit.fit.fit.fit", fit)
    return fit


def exit_code(*arguments: str) -> int:
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_every_option_reaches_the_fit(recorded, capsys):
    code = exit_code(
        *("fit", "a.png", "b.png", "--cameras", "rig.json", "--model", "ict", "--recipe", "rig"),
        *("--out", "there", "--device", "cpu", "--max-size", "800", "--landmarks", "l.json"),
        *("--networks", "mine"),
        *(
            "--masks",
            "m",
            "--commercial",
            "--set",
            "stages.mid.steps=20",
            "--set",
            "share.light=view",
        ),
    )
    assert code == 0
    call = recorded.calls[0]
    assert call["images"] == [Path("a.png"), Path("b.png")]
    assert (call["cameras"], call["model"], call["recipe"]) == (Path("rig.json"), "ict", "rig")
    assert (call["device"], call["max_size"]) == ("cpu", 800)
    assert call["networks"] == "mine"
    assert (call["landmarks"], call["masks"]) == (Path("l.json"), Path("m"))
    assert call["overrides"] == {"stages.mid.steps": 20, "share.light": "view"}
    assert call["commercial"] is True
    assert recorded.saved == [Path("there")]
    shown = capsys.readouterr().out
    assert "too dark" in shown
    assert "licences: not for commercial use (model basel: research)" in shown
    assert str(Path("there") / "report.html") in shown


def test_quiet_says_warnings_only_and_asks_for_no_progress(recorded, capsys):
    assert exit_code("fit", "a.png", "--quiet") == 0
    assert recorded.calls[0]["progress"] is None
    assert recorded.calls[0]["commercial"] is False
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "hrnfit: warning: view 'b' is left out: too dark\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("images: two\n  lines"), "images: two lines"),
        (LicenceError("this fit would use 'basel'"), "this fit would use 'basel'"),
        (ImportError("no mediapipe; pip install 'hrnfit[detect]'"), "hrnfit[detect]"),
        (OSError(28, "No space left on device", "out/maps"), "out/maps: No space left on device"),
        (
            OSError(28, "cannot save: the disk is full"),
            "hrnfit: error: cannot save: the disk is full",
        ),
        (MemoryError(), "--max-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "--max-size"),
        (ValueError("device 'cuda:7': torch sees no such GPU"), "device 'cuda:7'"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(monkeypatch, capsys, error, said):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("hrnfit.fit.fit.fit", broken)
    assert exit_code("fit", "a.png", "--quiet") == 2
    shown = capsys.readouterr().err
    assert shown.startswith("hrnfit: error: ")
    assert said in shown
    assert shown.count("\n") == 1
    with pytest.raises(type(error)):
        cli.main(["fit", "a.png", "--quiet", "--debug"])


def test_a_fault_of_ours_is_one_line_too_and_exit_code_1(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("hrnfit.fit.fit.fit", lambda *_, **__: 1 // 0)
    assert exit_code("fit", "a.png", "--quiet", "--out", str(tmp_path)) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("hrnfit: error: ZeroDivisionError: ")
    assert "--debug" in shown
    assert shown.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named_before_the_fit(recorded, capsys, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for out in (file, file / "below"):
        assert exit_code("fit", "a.png", "--quiet", "--out", str(out)) == 2
        assert f"{file} is a file; choose another folder" in capsys.readouterr().err
    assert exit_code("demo", "--out", str(file)) == 2
    assert recorded.calls == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fti",), "commands: fit, convert, demo, cameras, licences, models"),
        (("fit", "a.png", "--set", "steps"), "--set: expected key=value, got 'steps'"),
        (("fit", "a.png", "--set", "a=[1"), "is not a YAML value"),
        (("fit",), "name at least one photograph"),
        (("cameras", "missing.json"), "missing.json"),
        (("fit", "missing.png", "--quiet"), "missing.png"),
    ],
)
def test_wrong_use(capsys, arguments, said):
    assert exit_code(*arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_overrides_are_read_as_yaml():
    given = ["a=1", "b.c=0.5", "d=[1, 2]", "e=true", "f=x=y", "g=1e-3"]
    expected = {"a": 1, "b.c": 0.5, "d": [1, 2], "e": True, "f": "x=y", "g": 0.001}
    assert cli.parse_overrides(given) == expected


def test_help_and_version(capsys):
    assert exit_code("--version") == 0
    assert exit_code() == 0
    assert exit_code("fit", "--help") == 0
    shown = capsys.readouterr().out
    assert "None" not in shown
    assert "IMG [IMG ...]" in shown
    for option in ("--cameras", "--model", "--recipe", "--out", "--device", "--max-size", "--set"):
        assert option in shown


def test_cameras_are_shown_in_library_units(tmp_path, capsys):
    entry = {
        "name": "left",
        "K": [[900, 0, 319.5], [0, 900, 239.5], [0, 0, 1]],
        "dist": [0, 0, 0, 0, 0],
        "T_cam_world": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 600], [0, 0, 0, 1]],
        "width": 640,
        "height": 480,
    }
    file = tmp_path / "rig.json"
    file.write_text(json.dumps([entry]))
    assert exit_code("cameras", str(file)) == 0
    shown = capsys.readouterr().out
    # 0.5 px is added to a principal point counted from the centre of the first pixel
    assert "+0.0, +0.0" in shown
    assert "0, 0, -600" in shown.replace("-0", "0")
    entry["K"][0][0] = -900
    file.write_text(json.dumps([entry]))
    assert exit_code("cameras", str(file)) == 2
    assert "focal" in capsys.readouterr().err
