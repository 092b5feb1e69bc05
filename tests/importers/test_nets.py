"""Adding networks: read strictly, kept under a name, with where they are from."""

from __future__ import annotations

import hashlib

import pytest
import torch

from hrnfit.importers.nets import EXPECTED, add_network
from hrnfit.nets import store
from hrnfit.nets.configs import build
from hrnfit.nets.kinds import KINDS
from hrnfit.nets.network_info import NetworkInfo
from hrnfit.nets.weights import check_network, load_network, save_network
from hrnfit.nets.weights_error import WeightsError
from tests.nets.write_checkpoints import SMALL, document, small_state, write


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_added_is_what_was_in_the_file(kind, tmp_path):
    path = write(tmp_path / "a.pth", document(kind, small_state(kind)))
    found, target = add_network(kind, path, config=SMALL[kind])
    assert target == tmp_path / "home" / "nets" / f"{kind}.safetensors"
    for key, value in small_state(kind).items():
        assert torch.equal(found.module.state_dict()[key], value)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.info.files == (("a.pth", digest),)
    assert (found.info.name, found.info.origin) == (kind, kind)
    assert found.kind == KINDS[kind].network
    assert check_network(kind).config == SMALL[kind]


def test_the_same_outputs(tmp_path):
    network = build(SMALL["deretouch"]).eval()
    path = write(tmp_path / "a.pth", {"generator": network.state_dict()})
    add_network("deretouch", path, config=SMALL["deretouch"])
    texture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = network(texture)
    found = load_network("deretouch").module(texture)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_file_of_ours_is_copied_with_its_terms(tmp_path):
    info = NetworkInfo("trained", "studio", "yes", "studio", files=(("set.txt", "00"),))
    save_network(tmp_path / "a.safetensors", build(SMALL["hrn"]), info)
    found, _ = add_network("hrnfit", tmp_path / "a.safetensors", "studio")
    assert found.info == NetworkInfo(
        "studio", "studio", "yes", "studio", files=(("set.txt", "00"),)
    )
    data = bytearray((tmp_path / "a.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="checksum"):
        add_network("hrnfit", tmp_path / "a.safetensors", "other")
    assert list(store.network_files()) == ["studio"]


def test_names(tmp_path):
    path = write(tmp_path / "a.pth", document("deep3d", small_state("deep3d")))
    add_network("deep3d", path, "first", config=SMALL["deep3d"])
    with pytest.raises(ValueError, match=r"there is a network 'first' already.*--replace-existing"):
        add_network("deep3d", path, "first", config=SMALL["deep3d"])
    add_network("deep3d", path, "first", config=SMALL["deep3d"], replace_existing=True)
    for name in ("nul", "a b", "../x", "x" * 65):
        with pytest.raises(ValueError, match="network name"):
            add_network("deep3d", path, name, config=SMALL["deep3d"])
    with pytest.raises(ValueError, match="'hnr' is not known; did you mean 'hrn'"):
        add_network("hnr", path)
    with pytest.raises(FileNotFoundError, match="no such file; check the path"):
        add_network("hrn", tmp_path / "absent.pth")
    assert list(store.network_files()) == ["first"]


def test_a_refused_file_replaces_nothing(tmp_path):
    path = write(tmp_path / "a.pth", document("deep3d", small_state("deep3d")))
    _, target = add_network("deep3d", path, config=SMALL["deep3d"])
    before = target.read_bytes()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError):
        add_network("deep3d", path, config=SMALL["deep3d"], replace_existing=True)
    assert target.read_bytes() == before
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_released_sizes_are_expected(tmp_path):
    path = write(tmp_path / "a.pth", document("deep3d", small_state("deep3d")))
    with pytest.raises(WeightsError, match=r"missing .* and \d+ more; .*expected .*, got"):
        add_network("deep3d", path)
    assert set(EXPECTED) == {*KINDS, "hrnfit"}
