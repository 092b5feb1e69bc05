"""Whatever a reader of a foreign file does, its caller gets arrays or one sentence."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hrnfit.importers import isolated
from hrnfit.importers.isolated import cpu_seconds, read_isolated
from hrnfit.model.format_error import ModelFormatError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"\x01\x02\x03")
    return path


def read(name, file):
    return read_isolated(f"tests.importers.readers:{name}", file, asked=[1, 2])


def test_arrays_come_back(file):
    found = read("numbers", file)
    assert found["bytes"].tolist() == [1, 2, 3]
    assert found["asked"].tolist() == [1, 2]


def test_a_relative_path_is_found_from_where_the_caller_is(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert read("numbers", file.relative_to(file.parent))["bytes"].tolist() == [1, 2, 3]


def test_modules_beside_a_model_are_not_run(file, monkeypatch):
    trap = f"open({str(file.parent / 'ran')!r}, 'w').close()\n"
    for name in ("numpy", "json", "h5py", "scipy", "hrnfit", "tests"):
        (file.parent / f"{name}.py").write_text(trap, encoding="utf-8")
    monkeypatch.chdir(file.parent)
    assert read("numbers", file)["bytes"].tolist() == [1, 2, 3]
    assert not (file.parent / "ran").exists()


@pytest.mark.parametrize(
    ("reader", "sentence"),
    [
        ("crashes", r"model\.bin: its reader broke off .*copy or download it again"),
        ("objects", r"model\.bin: not readable"),
        ("refuses", r"model\.bin: key mean: expected \(N, 3\)$"),
    ],
)
def test_failures_are_one_sentence(file, reader, sentence):
    with pytest.raises(ModelFormatError, match=sentence) as caught:
        read(reader, file)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound it by the clock")
def test_a_reader_that_computes_for_ever_ends(file, monkeypatch):
    monkeypatch.setattr(isolated, "cpu_seconds", lambda path: 1)
    with pytest.raises(ModelFormatError, match="broke off"):
        read("loops", file)


def test_a_reader_that_waits_for_ever_ends(file, monkeypatch):
    monkeypatch.setattr(isolated, "PATIENCE", 0.5)
    with pytest.raises(ModelFormatError, match="takes too long"):
        read("waits", file)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound no memory")
def test_memory_is_bounded(file):
    with pytest.raises(ModelFormatError, match="more memory than any model needs"):
        read("hoards", file)


def test_a_missing_package_is_no_damage(file):
    with pytest.raises(ImportError, match=r"pip install 'hrnfit\[something\]'"):
        read("lacks", file)


def test_a_missing_file_is_said_as_such(tmp_path):
    with pytest.raises(FileNotFoundError):
        read("numbers", tmp_path / "absent.bin")


def test_large_files_may_take_longer(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"")
    with large.open("wb") as opened:
        opened.truncate(200_000_000)
    assert cpu_seconds(small) == 3
    assert cpu_seconds(large) == 13
    assert np.isfinite(isolated.PATIENCE)
