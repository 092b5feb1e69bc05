"""Results that cannot be written where they were wanted."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from hrnfit import cli, cli_folder
from hrnfit.fit.out_of_memory import OutOfMemoryError
from tests.fit.small_result import make_result


class Saved:
    """Stands for a result: refuses the folders it is told to, writes one file elsewhere."""

    def __init__(self, *full: Path):
        self.full = full

    def save(self, folder: Path) -> None:
        if not self.full or folder in self.full:
            raise OSError(errno.ENOSPC, "the disk is full")
        (folder / "result.json").write_text("{}")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_result_that_does_not_fit_is_kept_elsewhere(tmp_path, elsewhere):
    wanted = tmp_path / "out"
    with pytest.raises(
        OSError, match="the disk is full; nothing is lost: this result is in"
    ) as caught:
        cli_folder.save_or_rescue(Saved(wanted), wanted)  # type: ignore[arg-type]
    (rescued,) = elsewhere.iterdir()
    assert str(rescued) in str(caught.value)
    assert (rescued / "result.json").is_file()


def test_when_no_place_is_left_the_first_reason_is_given(tmp_path, elsewhere):
    with pytest.raises(OSError, match="the disk is full") as caught:
        cli_folder.save_or_rescue(Saved(), tmp_path / "out")  # type: ignore[arg-type]
    assert "nothing is lost" not in str(caught.value)
    assert not list(elsewhere.iterdir())


def test_a_writable_place_passes_and_nothing_is_left_there(tmp_path):
    cli_folder.check_folder(tmp_path)
    cli_folder.check_folder(tmp_path / "new" / "deeper")
    assert not list(tmp_path.iterdir())


def test_a_rig_is_not_overwritten_by_its_result(tmp_path):
    (tmp_path / "cameras.json").write_text("[]")
    with pytest.raises(FileExistsError, match=r"cameras\.json there would be overwritten"):
        cli_folder.check_folder(tmp_path)


def test_a_refused_place_is_named(tmp_path, monkeypatch):
    def refused(dir: Path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(PermissionError, match=r"cannot write in .*; choose another"):
        cli_folder.check_folder(tmp_path / "new")


def test_a_fit_that_runs_out_of_memory_leaves_its_finished_stages(tmp_path):
    with (
        pytest.raises(OutOfMemoryError, match=f"no room: it is saved in {tmp_path}") as caught,
        cli_folder.saving_what_is_done(tmp_path),
    ):
        raise OutOfMemoryError("no room", make_result())
    assert (tmp_path / "result.json").is_file()
    assert cli.sentence(caught.value).startswith("no room")
    with (
        pytest.raises(OutOfMemoryError, match=r"no room$"),
        cli_folder.saving_what_is_done(tmp_path),
    ):
        raise OutOfMemoryError("no room")
