"""Checkpoints of others: read whole, or refused with the keys named."""

from __future__ import annotations

import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from hrnfit.nets import checkpoint
from hrnfit.nets.checkpoint import read_checkpoint
from hrnfit.nets.configs import laid_out
from hrnfit.nets.kinds import KINDS
from hrnfit.nets.weights_error import WeightsError
from tests.nets import layouts
from tests.nets.write_checkpoints import SMALL, document, filled, small_state, write


def read(path, kind="hrn"):
    return read_checkpoint(path, kind, SMALL[kind])


def check_same(found, expected):
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value.detach()), key
        assert found[key].dtype == value.dtype
        assert found[key].untyped_storage().nbytes() == value.nbytes


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_in_both_formats(kind, legacy, tmp_path):
    state = small_state(kind)
    path = write(tmp_path / "a.pth", document(kind, state), legacy=legacy)
    check_same(read(path, kind), state)


@pytest.mark.parametrize(
    ("kind", "layout", "count"),
    [
        ("hrn", layouts.hrn(), 24_034_625 + 11_387_587 + 11_390_721 + 2),
        ("deretouch", layouts.deretouch(), 13_397_007),
    ],
)
def test_released_sizes(kind, layout, count, tmp_path):
    state = filled(layout)
    counted = sum(
        v.numel() for k, v in state.items() if ".running" not in f".{k}" and v.is_floating_point()
    )
    assert counted == count
    path = write(tmp_path / "a.pth", document(kind, state))
    found = read_checkpoint(path, kind)
    assert set(found) == set(state)
    assert all(torch.equal(found[key], state[key]) for key in state)
    if kind == "hrn":
        assert path.stat().st_size == pytest.approx(352.7 * 2**20, rel=1e-3)
        for part, expected in (("mid_net", 11_387_587), ("high_net", 11_390_721)):
            assert sum(v.numel() for k, v in found.items() if k.startswith(part)) == expected
    else:
        assert any(key.startswith("dsoutc4") for key in found)


@pytest.mark.parametrize("kind", ["deep3d", "arcface"])
def test_layouts_of_the_other_kinds(kind):
    layout = (
        layouts.arcface()
        if kind == "arcface"
        else {f"net_recon.{k}": s for k, s in layouts.analyzer().items()}
    )
    assert layouts.layout_of(laid_out(KINDS[kind].config)) == layout


def test_scales_may_come_without_an_axis(tmp_path):
    state = small_state("hrn")
    content = document("hrn", state) | {"alpha": state["alpha"][0], "beta": state["beta"].clone()}
    check_same(read(write(tmp_path / "a.pth", content)), state)


def test_a_count_beside_the_generator_is_let_go(tmp_path):
    state = small_state("deretouch")
    path = write(tmp_path / "a.pth", {"iteration": 7, "generator": state})
    check_same(read(path, "deretouch"), state)


def test_views_become_tensors_of_their_own(tmp_path):
    state = small_state("arcface")
    wide = torch.arange(1000.0)
    state["conv1.weight"] = wide[10 : 10 + 54].reshape(2, 3, 3, 3)
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"].to(
        memory_format=torch.channels_last
    )
    check_same(read(write(tmp_path / "a.pth", state), "arcface"), state)


def _edited(kind="hrn"):
    content = copy.deepcopy(document(kind, small_state(kind)))
    return content, content["mid_net"] if kind == "hrn" else content


def _missing(c, n):
    del n["model.1.bias"], n["model.4.bias"]


def _many_missing(c, n):
    c["net_recon"] = OrderedDict(list(c["net_recon"].items())[:2])


def _extra(c, n):
    n["model.99.weight"] = torch.zeros(2)


def _shape(c, n):
    n["model.1.bias"] = torch.zeros(2)


def _transposed(c, n):
    n["model.1.weight"] = torch.zeros(6, 1, 7, 7)


def _half(c, n):
    n["model.1.bias"] = torch.zeros(1, dtype=torch.float16)


def _whole(c, n):
    n["model.1.bias"] = torch.zeros(1, dtype=torch.int64)


def _nan(c, n):
    n["model.1.weight"][0, 2, 3, 4] = np.nan
    n["model.1.weight"][0, 2, 3, 5] = -np.inf


def _wrapped(c, n):
    c["mid_net"] = OrderedDict((f"module.{k}", v) for k, v in n.items())


def _number(c, n):
    n["model.1.bias"] = 0.5


def _alpha(c, n):
    c["alpha"] = torch.zeros(2)


def _no_alpha(c, n):
    del c["alpha"]


def _odd_top(c, n):
    c["epoch"] = 10


def _deep3d(c, n):
    for key in ("mid_net", "high_net", "alpha", "beta"):
        del c[key]


def _no_table(c, n):
    c["mid_net"] = torch.zeros(3)


def _odd_key(c, n):
    n[3] = torch.zeros(1)


def _unprintable(c, n):
    n["bad\n\x1b[31m\u202e" + "x" * 500] = torch.zeros(1)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_missing, r"missing mid_net\.model\.1\.bias, mid_net\.model\.4\.bias$"),
        (_many_missing, r"missing net_recon(\S+ ?){5}and \d+ more$"),
        (_extra, r"not expected mid_net\.model\.99\.weight$"),
        (_shape, r"mid_net\.model\.1\.bias: expected \(1,\) float32, got \(2,\) float32$"),
        (_transposed, r"expected \(1, 6, 7, 7\) float32, got \(6, 1, 7, 7\) float32$"),
        (_half, r"expected \(1,\) float32, got \(1,\) float16$"),
        (_whole, r"expected \(1,\) float32, got \(1,\) int64$"),
        (_nan, r"mid_net\.model\.1\.weight: 2 of 294 values are NaN or infinite"),
        (
            _wrapped,
            r"mid_net\.module\.model\.1\.bias.*save network\.module\.state_dict\(\) instead$",
        ),
        (_number, r"mid_net\.model\.1\.bias: expected a tensor, got float$"),
        (_alpha, r"alpha: expected \(1,\) float32, got \(2,\) float32$"),
        (_no_alpha, r"at its top it lacks alpha$"),
        (_odd_top, r"at its top it has epoch, which that kind has not$"),
        (
            _deep3d,
            r"lacks alpha, beta, high_net, mid_net; this looks like deep3d: hrnfit nets add deep3d",
        ),
        (_no_table, r"mid_net: expected a dictionary of tensors$"),
        (_odd_key, r"1 names that are no text$|not expected mid_net\.3$"),
        (_unprintable, r"not expected '\w+\.bad\\n\\x1b\[31m\\u202ex{50,80}'$"),
    ],
)
def test_what_is_wrong_is_listed(edit, message, legacy, tmp_path):
    content, network = _edited()
    edit(content, network)
    path = write(tmp_path / "a.pth", content, legacy=legacy)
    with pytest.raises(WeightsError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < len(str(path)) + 800


def test_several_faults_are_one_error(tmp_path):
    content, network = _edited()
    for edit in (_missing, _extra, _transposed):
        edit(content, network)
    with pytest.raises(
        WeightsError, match=r"missing .*; not expected .*; mid_net\.model\.1\.weight: "
    ):
        read(write(tmp_path / "a.pth", content))


@pytest.mark.parametrize("kind", ["hrn", "deep3d", "deretouch"])
def test_a_flat_file_is_recognised(kind, tmp_path):
    path = write(tmp_path / "a.pth", small_state("arcface"))
    with pytest.raises(WeightsError, match="this looks like arcface: hrnfit nets add arcface PATH"):
        read(path, kind)


def test_a_file_of_hrn_is_no_file_of_deep3d(tmp_path):
    path = write(tmp_path / "a.pth", document("hrn", small_state("hrn")))
    with pytest.raises(WeightsError, match=r"has alpha, beta, high_net, mid_net.*looks like hrn"):
        read(path, "deep3d")


def _containers(folder):
    """Files that are no checkpoints, and what is said of them."""
    files = {
        "page": (b"\n<!DOCTYPE html><html>", "this is a web page, no weights; the download ended"),
        "pointer": (
            b"version https://git-lfs.github.com/spec/v1\n",
            "pointer of Git LFS.*git lfs pull",
        ),
        "text": (b"some words", r"not a checkpoint of torch\.save; expected HRN v1\.1"),
        "tar": (bytes(257) + b"ustar" + bytes(300), "this is a tar archive, no checkpoint"),
        "pickle": (b"\x80\x02K\x03.", r"a pickle, but no checkpoint of torch\.save"),
        "empty": (b"", "0 bytes; files of weights have up to"),
        "safetensors": (b"\x02\0\0\0\0\0\0\0{}", "safetensors file; .*hrnfit nets add hrnfit PATH"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    np.savez(folder / "npz.npz", a=np.zeros(2))
    np.save(folder / "npy.npy", np.zeros(2))
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), folder / "script.pt")
    return {name: message for name, (_, message) in files.items()} | {
        "npz.npz": "this is an npz file of arrays",
        "npy.npy": "this is an npy file, no checkpoint",
        "script.pt": "this is a TorchScript archive: a program",
    }


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_other_files_are_told_by_what_they_are(tmp_path):
    for name, message in _containers(tmp_path).items():
        with pytest.raises(WeightsError, match=message):
            read(tmp_path / name)
    with pytest.raises(WeightsError, match="not a file"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent: no such file"):
        read(tmp_path / "absent")
    with pytest.raises(
        ValueError, match="kind of checkpoint: 'hnr' is not known; did you mean 'hrn'"
    ):
        read_checkpoint(tmp_path / "page", "hnr")


def test_sizes_are_bounded(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.seek(checkpoint.LARGEST)
        file.write(b"x")
    with pytest.raises(WeightsError, match="files of weights have up to 2000000000"):
        read(tmp_path / "large")


def test_an_old_torch_does_not_get_the_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.pth", document("hrn", small_state("hrn")))
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(WeightsError, match=r"need torch 2\.6 or newer, here is 2\.5\.1"):
        read(path)
