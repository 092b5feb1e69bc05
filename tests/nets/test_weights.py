"""Our own files: written whole, read back the same, refused when damaged."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from hrnfit.nets.checkpoint import forms
from hrnfit.nets.configs import build, laid_out
from hrnfit.nets.discriminator import DiscriminatorConfig
from hrnfit.nets.hrn import RELEASED, Hrn
from hrnfit.nets.network_info import NetworkInfo
from hrnfit.nets.weights import ADVICE, check_network, load_network, save_network
from hrnfit.nets.weights_error import WeightsError
from tests.nets.write_checkpoints import SMALL, filled, small_state

INFO = NetworkInfo("mine", "ours", "yes", "trained here", "", "hrnfit", (("a.pth", "00"),))


@pytest.fixture
def written(tmp_path):
    """A small HRN and its file."""
    network = build(SMALL["hrn"])
    network.load_state_dict(small_state("hrn"))
    save_network(tmp_path / "a.safetensors", network, INFO)
    return network, tmp_path / "a.safetensors"


def altered(path, change):
    """The file with another header."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header, header["__metadata__"])
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def test_a_network_comes_back_the_same(written):
    network, path = written
    found = load_network(path)
    assert (found.kind, found.config, found.info) == ("hrn", SMALL["hrn"], INFO)
    assert not found.module.training
    assert not any(p.requires_grad for p in found.module.parameters())
    assert not any(t.is_meta for t in found.module.state_dict().values())
    picture = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = network.eval().coefficients(picture)
    # tensors in a mapped file are not aligned as torch aligns its own: the last bits differ
    torch.testing.assert_close(found.module.coefficients(picture), expected, rtol=1e-5, atol=1e-6)
    assert check_network(path).checksum == found.checksum


@pytest.mark.parametrize(
    "config",
    [SMALL["deretouch"], SMALL["arcface"], SMALL["deep3d"], DiscriminatorConfig(3, width=2)],
)
def test_every_kind_of_network(config, tmp_path):
    network = build(config)
    save_network(tmp_path / "a.safetensors", network, INFO)
    found = check_network(tmp_path / "a.safetensors")
    assert found.config == config
    state = network.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in found.module.state_dict().items())


def test_a_checksum_is_of_the_numbers_not_of_the_file(written, tmp_path):
    network, path = written
    save_network(tmp_path / "b.safetensors", network, replace(INFO, name="other"))
    assert load_network(tmp_path / "b.safetensors").checksum == load_network(path).checksum
    with torch.no_grad():
        network.alpha += 1.0
    save_network(tmp_path / "b.safetensors", network, INFO)
    assert load_network(tmp_path / "b.safetensors").checksum != load_network(path).checksum


def test_results_do_not_depend_on_a_note(written, tmp_path):
    network, path = written
    picture = torch.rand(1, 3, 64, 64)
    expected = load_network(path).module.coefficients(picture)
    for length in (1, 5, 17, 40):
        save_network(tmp_path / "b.safetensors", network, replace(INFO, note="n" * length))
        found = load_network(tmp_path / "b.safetensors")
        assert torch.equal(found.module.coefficients(picture), expected)


def test_a_flipped_bit_is_found_when_all_is_read(written):
    _, path = written
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    load_network(path)
    with pytest.raises(WeightsError, match=r"a\.safetensors: its numbers do not have the checksum"):
        check_network(path)


def test_changing_a_loaded_network_leaves_its_file(written):
    _, path = written
    before = path.read_bytes()
    load_network(path).module.alpha.data.fill_(5.0)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, m: h.pop("alpha"), "file not fully covered|missing alpha|[Mm]etadata|[Hh]eader"),
        (lambda h, m: h.update(gamma=h.pop("alpha")), "missing alpha; not expected gamma"),
        (lambda h, m: h.pop("__metadata__"), "not a file of format 'hrnfit-network-1'"),
        (lambda h, m: m.update(format="other"), "not a file of format 'hrnfit-network-1'"),
        (lambda h, m: m.pop("checksum"), "missing checksum"),
        (lambda h, m: m.update(config="{"), "Expecting property name"),
        (lambda h, m: m.update(config="[" * 90_000), "recursion|Expecting value"),
        (lambda h, m: m.update(network="hnr"), "'hnr' is not known; did you mean 'hrn'"),
        (
            lambda h, m: m.update(config=m["config"].replace('"width": 1', '"width": 2')),
            r"high_net\.model\.1\.bias: expected \(2,\) float32, got \(1,\) float32.* more",
        ),
        (
            lambda h, m: m.update(config=m["config"].replace('"width": 1', '"width": 4096')),
            "more than 268,435,456 parameters",
        ),
        (lambda h, m: m.update(info="[]"), "info: expected an object of texts, got list"),
        (lambda h, m: m.update(info="{}"), "info: expected commercial, files, licence.*differs in"),
        (
            lambda h, m: m.update(info=m["info"].replace('"yes"', '"maybe"')),
            r"info\.commercial: 'maybe' is not known; did you mean 'yes'",
        ),
        (
            lambda h, m: m.update(info=m["info"].replace('"ours"', "3")),
            r"info\.licence: expected a text",
        ),
        (
            lambda h, m: m.update(info=m["info"].replace('"00"', "0")),
            r"info\.files: expected pairs",
        ),
        (
            lambda h, m: m.update(info=m["info"].replace("ours", "o" * 10_001)),
            r"info\.licence: 10001 characters",
        ),
    ],
)
def test_headers_that_do_not_fit(change, message, written):
    _, path = written
    altered(path, change)
    with pytest.raises(WeightsError, match=message) as caught:
        load_network(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(ADVICE)


def test_other_files_and_kinds(written):
    _, path = written
    with pytest.raises(WeightsError, match="a network of kind 'hrn', expected 'arcface'"):
        load_network(path, "arcface")
    assert load_network(path, "hrn").kind == "hrn"
    torch.save({}, path)
    with pytest.raises(
        WeightsError,
        match=r"not a safetensors file of this library; get the file again.*hrnfit nets add KIND PATH",
    ):
        load_network(path)


def test_nothing_bad_is_written(written, tmp_path):
    network, path = written
    before = path.read_bytes()
    with torch.no_grad():
        network.beta.fill_(torch.nan)
    with pytest.raises(WeightsError, match="beta: 1 of 1 values are NaN or infinite"):
        save_network(path, network, INFO)
    assert path.read_bytes() == before
    with pytest.raises(TypeError, match=r"expected a network of hrnfit\.nets, got Linear"):
        save_network(path, nn.Linear(2, 2), INFO)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_the_released_size_loads_at_once(tmp_path):
    network = laid_out(RELEASED)
    shapes = {key: shape for key, (shape, _) in forms(network).items()}
    network.load_state_dict(filled(shapes), assign=True)
    save_network(tmp_path / "a.safetensors", network, INFO)
    load_network(tmp_path / "a.safetensors")
    times = []
    for _ in range(3):
        began = time.process_time()
        found = load_network(tmp_path / "a.safetensors")
        times.append(time.process_time() - began)
    assert isinstance(found.module, Hrn)
    assert min(times) < 2.0  # 0.2 s without the checks of this session on every call
