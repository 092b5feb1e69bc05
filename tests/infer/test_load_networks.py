"""Kept networks are found by kind, and only those of the kind are opened whole."""

from __future__ import annotations

import logging

import pytest

from hrnfit.infer import load_networks
from hrnfit.infer.load_networks import kept
from hrnfit.nets import store
from hrnfit.nets.configs import build
from hrnfit.nets.deretouch import DeretouchConfig
from hrnfit.nets.generator import GeneratorConfig
from hrnfit.nets.network_info import NetworkInfo
from hrnfit.nets.weights import kind_of, load_network, save_network
from hrnfit.nets.weights_error import WeightsError

SMALL = {
    "one": DeretouchConfig(width=1),
    "other": DeretouchConfig(width=2),
    "third": GeneratorConfig(6, 3, width=1, blocks=1),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path))
    place = store.networks_folder()
    place.mkdir(parents=True)
    for name, config in SMALL.items():
        info = NetworkInfo(name, "MIT", "yes", "a test")
        save_network(place / f"{name}.safetensors", build(config), info)
    return place


def test_a_kind_is_found_and_the_others_stay_closed(folder, monkeypatch):
    opened = []

    def load(path):
        opened.append(path.stem)
        return load_network(path)

    monkeypatch.setattr(load_networks, "load_network", load)
    found = kept("deretouch")
    assert {name: one.config for name, one in found.items()} == {k: SMALL[k] for k in found}
    assert list(found) == opened == ["one", "other"]
    assert kept("arcface") == {}


def test_broken_files_are_passed_over_with_a_message(folder, caplog):
    """One that breaks off in its header, and one whose last number is missing."""
    for name, length in (("one", 50), ("other", -1)):
        file = folder / f"{name}.safetensors"
        file.write_bytes(file.read_bytes()[:length])
    with caplog.at_level(logging.WARNING):
        assert kept("deretouch") == {}
    assert [record.args[0] for record in caplog.records] == ["one", "other"]


def test_the_kind_stands_in_the_header(folder, tmp_path):
    assert kind_of(folder / "third.safetensors") == "generator"
    stranger = tmp_path / "stranger.safetensors"
    stranger.write_bytes(b"no network at all")
    with pytest.raises(
        WeightsError, match=r"stranger.safetensors: not a safetensors file .* hrnfit nets add"
    ):
        kind_of(stranger)
