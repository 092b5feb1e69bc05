"""Names and places of networks."""

from __future__ import annotations

import pytest

from hrnfit.nets import store


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with one network and other things in it."""
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path))
    nets = tmp_path / "nets"
    nets.mkdir()
    (nets / "studio.safetensors").write_bytes(b"x")
    (nets / ".studio.12.partial.safetensors").write_bytes(b"half")
    (nets / "folder.safetensors").mkdir()
    (nets / "other.txt").write_bytes(b"x")
    return nets


def test_only_whole_files_are_networks(folder):
    assert store.network_files() == {"studio": folder / "studio.safetensors"}


def test_names_and_paths_resolve(folder):
    assert store.resolve("studio") == folder / "studio.safetensors"
    assert store.resolve(folder / "other.txt") == folder / "other.txt"
    with pytest.raises(FileNotFoundError, match=r"known: studio\); did you mean 'studio'"):
        store.resolve("studoi")


def test_removing_takes_names_only(folder):
    path = folder / "studio.safetensors"
    with pytest.raises(FileNotFoundError, match="none of that name"):
        store.remove_network(str(path))
    assert store.remove_network("studio") == path
    assert not path.exists()
    with pytest.raises(FileNotFoundError, match="known: none"):
        store.remove_network("studio")
