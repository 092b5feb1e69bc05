"""Downloads from a server on this machine: whole, resumed, broken off, damaged, refused."""

from __future__ import annotations

import errno
import hashlib
import shutil
import socket
import ssl
from collections import namedtuple

import numpy as np
import pytest

from hrnfit.importers import download as module
from hrnfit.importers.download import DownloadError, Patience, RemoteFile, checked_base, download
from tests.importers.file_server import Behaviour, serving

HASTY = Patience(attempts=3, pause=0.001, timeout=5.0, connections=2)
CONTENT = {
    "mesh/one.obj": np.random.default_rng(0).bytes(300_000),
    "mesh/two.obj": np.random.default_rng(1).bytes(70_000),
    "LICENSE": b"take it",
}


def remote(content: dict[str, bytes] = CONTENT) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(path, len(data), hashlib.sha256(data).hexdigest())
        for path, data in content.items()
    )


def told(folder) -> dict[str, bytes]:
    """What lies in a folder."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_everything_comes_and_is_not_asked_for_again(tmp_path):
    behaviour, steps = Behaviour(CONTENT), []
    with serving(behaviour) as base:
        paths = download(remote(), base, tmp_path, lambda *step: steps.append(step), HASTY)
        asked = len(behaviour.asked)
        download(remote(), base, tmp_path, patience=HASTY)
    assert told(tmp_path) == CONTENT
    assert paths == tuple(tmp_path / name for name in CONTENT)
    assert asked == len(behaviour.asked) == 3
    total = sum(map(len, CONTENT.values()))
    assert steps[0] == (0, total)
    assert steps[-1] == (total, total)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_off_goes_on(tmp_path, ranges):
    """With ranges no byte is sent twice; without, the file begins anew."""
    behaviour = Behaviour(CONTENT, ranges=ranges, cut_after=65_536, cuts=2)
    steps = []
    with serving(behaviour) as base:
        download(remote(), base, tmp_path, lambda *step: steps.append(step), HASTY)
    assert told(tmp_path) == CONTENT
    assert ("mesh/one.obj", "bytes=65536-") in behaviour.asked
    assert steps[-1][0] == steps[-1][1]
    if ranges:
        assert ("mesh/one.obj", "bytes=131072-") in behaviour.asked


@pytest.mark.parametrize("ranges", [True, False])
def test_an_earlier_download_is_resumed(tmp_path, ranges):
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/one.obj.part").write_bytes(CONTENT["mesh/one.obj"][:100_000])
    (tmp_path / "LICENSE").write_bytes(CONTENT["LICENSE"])
    behaviour, steps = Behaviour(CONTENT, ranges=ranges), []
    with serving(behaviour) as base:
        download(remote(), base, tmp_path, lambda *step: steps.append(step), HASTY)
    assert told(tmp_path) == CONTENT
    assert sorted(behaviour.asked, key=str) == [
        ("mesh/one.obj", "bytes=100000-"),
        ("mesh/two.obj", None),
    ]
    assert steps[0][0] == 100_000 + len(CONTENT["LICENSE"])


def test_a_part_that_is_damaged_is_fetched_anew(tmp_path):
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/one.obj.part").write_bytes(bytes(100_000))
    (tmp_path / "mesh/two.obj.part").write_bytes(bytes(100_000))  # longer than the file
    (tmp_path / "LICENSE").write_bytes(b"take me")  # right size, wrong content
    with serving(Behaviour(CONTENT)) as base:
        download(remote(), base, tmp_path, patience=HASTY)
    assert told(tmp_path) == CONTENT


def test_a_wrong_byte_is_refused(tmp_path):
    wrong = dict(CONTENT)
    wrong["mesh/two.obj"] = b"x" + CONTENT["mesh/two.obj"][1:]
    behaviour = Behaviour(wrong)
    with (
        serving(behaviour) as base,
        pytest.raises(DownloadError, match=r"two\.obj: SHA-256 is not .* another base address"),
    ):
        download(remote(), base, tmp_path, patience=HASTY)
    assert not (tmp_path / "mesh/two.obj").exists()
    assert not (tmp_path / "mesh/two.obj.part").exists()
    assert [path for path, _ in behaviour.asked].count("mesh/two.obj") == 2  # once more, then no


def test_a_file_that_is_too_long_or_too_short(tmp_path):
    longer = CONTENT | {"LICENSE": CONTENT["LICENSE"] + b"!"}
    with (
        serving(Behaviour(longer)) as base,
        pytest.raises(DownloadError, match="longer than the 7"),
    ):
        download(remote(), base, tmp_path, patience=HASTY)
    shorter = CONTENT | {"LICENSE": b"take"}
    with (
        serving(Behaviour(shorter)) as base,
        pytest.raises(DownloadError, match=r"shorter than the 7 .*\(3 att"),
    ):
        download(remote(), base, tmp_path / "other", patience=HASTY)


def test_a_missing_file_ends_it_at_once(tmp_path):
    behaviour = Behaviour({k: v for k, v in CONTENT.items() if k != "LICENSE"})
    with (
        serving(behaviour) as base,
        pytest.raises(DownloadError, match="LICENSE: the server answers 404"),
    ):
        download(remote(), base, tmp_path, patience=HASTY)
    assert [path for path, _ in behaviour.asked].count("LICENSE") == 1


@pytest.mark.parametrize(
    ("code", "times", "comes"), [(503, 2, True), (429, 2, True), (500, 9, False)]
)
def test_a_busy_server_is_asked_again(tmp_path, code, times, comes):
    behaviour = Behaviour(CONTENT, refusals=[code] * times)
    files = remote()[:1]
    with serving(behaviour) as base:
        if comes:
            download(files, base, tmp_path, patience=HASTY)
            assert len(behaviour.asked) == times + 1
        else:
            with pytest.raises(DownloadError, match=rf"answers {code} .*\(3 attempts\)"):
                download(files, base, tmp_path, patience=HASTY)
            assert len(behaviour.asked) == 3


def test_no_connection(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(DownloadError, match=r"no connection .* check the network or the proxy"):
            download(remote(), f"http://127.0.0.1:{port}/", tmp_path, patience=HASTY)


def test_a_silent_server(tmp_path):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(8)
        hasty = Patience(attempts=2, pause=0.001, timeout=0.1)
        with pytest.raises(DownloadError, match=r"timed out.* \(2 attempts\)"):
            download(
                remote(), f"http://127.0.0.1:{deaf.getsockname()[1]}/", tmp_path, patience=hasty
            )


def test_a_full_disk_is_said_before(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(DownloadError, match=r"0 MB are to come, .* HRNFIT_HOME"):
        download(remote(), "http://127.0.0.1:1/", tmp_path, patience=HASTY)


def test_a_disk_that_fills_up(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module._Job, "_append", full)
    with (
        serving(Behaviour(CONTENT)) as base,
        pytest.raises(DownloadError, match="the disk is full"),
    ):
        download(remote(), base, tmp_path, patience=HASTY)


@pytest.mark.parametrize(
    "fault",
    [
        ssl.SSLError(1, "bad record mac"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        OSError(errno.ENETDOWN, "Network is down"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
    ],
    ids=lambda fault: f"{type(fault).__name__}-{fault.errno}",
)
def test_a_network_that_fails_in_between_is_asked_again(tmp_path, monkeypatch, fault):
    sound, faults = module._Job._append, [fault]

    def faulty(*given) -> None:
        if faults:
            raise faults.pop()
        sound(*given)

    monkeypatch.setattr(module._Job, "_append", faulty)
    with serving(Behaviour(CONTENT)) as base:
        download(remote(), base, tmp_path, patience=HASTY)
    assert told(tmp_path) == CONTENT


def test_other_faults_are_passed_on_as_they_are(tmp_path, monkeypatch):
    fault = OSError(errno.EROFS, "Read-only file system")

    def broken(*_: object) -> None:
        raise fault

    monkeypatch.setattr(module._Job, "_append", broken)
    with serving(Behaviour(CONTENT)) as base, pytest.raises(OSError, match="Read-only") as caught:
        download(remote()[:1], base, tmp_path, patience=HASTY)
    assert caught.value is fault
    assert fault.__cause__ is None


@pytest.mark.parametrize("url", ["file:///etc/", "ftp://host/", "host/path", "", "https://"])
def test_only_web_addresses(url):
    with pytest.raises(ValueError, match="base address: expected https"):
        checked_base(url)


def test_a_base_ends_in_one_slash():
    assert checked_base("https://host/a//") == checked_base("https://host/a") == "https://host/a/"
