"""`hrnfit nets`: adding, listing, showing, checking, removing."""

from __future__ import annotations

import json

import pytest

from hrnfit import cli, cli_nets
from hrnfit.importers.nets import add_network
from hrnfit.nets import store
from hrnfit.nets.configs import build
from hrnfit.nets.network_info import NetworkInfo
from hrnfit.nets.weights import save_network
from tests.nets.write_checkpoints import SMALL, document, small_state, write


@pytest.fixture
def added(tmp_path, monkeypatch, capsys):
    """A user's folder with a network of ours and one of others; what adding the first printed."""
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    save_network(
        tmp_path / "a.safetensors", build(SMALL["hrn"]), NetworkInfo("a", "studio", "yes", "studio")
    )
    cli_nets.main(["add", "hrnfit", str(tmp_path / "a.safetensors"), "--name", "studio"])
    path = write(tmp_path / "face.pth", document("arcface", small_state("arcface")))
    add_network("arcface", path, config=SMALL["arcface"])
    return tmp_path


def words(capsys) -> str:
    return " ".join(capsys.readouterr().out.replace("│", "").split())


def test_adding_says_where_and_under_which_terms(added, capsys):
    shown = words(capsys)
    assert f"added 'studio': {added}" in shown
    assert "licence: studio." in shown


def test_networks_are_listed_and_shown(added, capsys):
    cli_nets.main(["list"])
    shown = words(capsys)
    assert "studio hrn" in shown
    assert "arcface arcface" in shown
    assert "deep3d Deep3DFaceRecon_pytorch: epoch_20.pth" in shown
    cli_nets.main(["info", "arcface"])
    shown = words(capsys)
    for text in (
        "commercial use no",
        "non-commercial research",
        "face.pth (SHA-256",
        '"embedding": 3',
    ):
        assert text in shown


def test_checking_and_removing(added, capsys):
    cli_nets.main(["check", "studio"])
    assert "checksum as stated" in capsys.readouterr().out
    path = store.networks_folder() / "studio.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"studio\.safetensors: its numbers do not have the checksum"
    ):
        cli_nets.main(["check", "studio"])
    cli_nets.main(["remove", "studio"])
    assert f"removed {path}" in capsys.readouterr().out
    assert list(store.network_files()) == ["arcface"]


def test_broken_ones_are_listed_as_such(added, capsys):
    (store.networks_folder() / "hurt.safetensors").write_bytes(b"nothing")
    capsys.readouterr()
    cli_nets.main(["list"])
    assert "broken: " in capsys.readouterr().out
    cli.main(["licences", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found["unreadable_networks"]) == ["hurt"]
    assert found["unreadable_models"] == {}
    allowed = {p["name"]: p["commercial"] for p in found["parts"] if p["kind"] == "weights"}
    assert allowed == {"studio": "yes", "arcface": "no"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "hnr", "face.pth"], "kind: 'hnr' is not known; did you mean 'hrn'"),
        (["add", "hrn", "absent.pth"], "absent.pth: no such file; check the path"),
        (["add", "arcface", "face.pth"], "there is a network 'arcface' already"),
        (["add", "deep3d", "face.pth"], "this looks like arcface: hrnfit nets add arcface PATH"),
        (["info", "studoi"], "did you mean 'studio'"),
        (["remove", "absent"], "network 'absent': none of that name"),
    ],
)
def test_messages_and_exit_code(added, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(added)
    with pytest.raises(SystemExit) as ended:
        cli.main(["nets", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_is_in_the_usage(capsys):
    cli.main([])
    assert "hrnfit nets list | info | add | check | remove" in capsys.readouterr().out
