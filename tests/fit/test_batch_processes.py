"""A batch in processes: order, equality with single fits, errors that keep their type, processes that die."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

import hrnfit
from hrnfit.fit import batch_processes
from hrnfit.fit.batch_processes import InProcesses
from hrnfit.fit.batch_terms import UnfinishedError
from hrnfit.fit.batch_work import BatchError, BatchInterrupted, BatchProgress
from hrnfit.fit.fit_process import FitProcess, ProcessEndedError, RaisedInProcess
from hrnfit.fit.process_inside import Room
from hrnfit.fit.result import FitResult
from tests.fit.process_cases import Ends, finish
from tests.fit.small_scene import face
from tests.fit.test_batch import SMALL, THREE, batch, blind, single


@pytest.fixture(scope="module")
def pool() -> Iterator[hrnfit.BatchProcesses]:
    with hrnfit.BatchProcesses(2, model=face(), device="cpu") as processes:
        yield processes


def run(pool: hrnfit.BatchProcesses, captures: list[hrnfit.Capture], **changes: Any) -> list[Any]:
    given: dict[str, Any] = {"recipe": SMALL} | changes
    return hrnfit.fit_batch(captures, processes=pool, **given)


def test_results_are_those_of_single_fits_in_the_order_given(pool):
    told: list[BatchProgress] = []
    found = run(pool, THREE, progress=told.append)
    for one, result in zip(THREE, found, strict=True):
        alone = single(one)
        assert result.view_names == alone.view_names
        for level in ("coarse", "mid", "fine"):
            assert torch.equal(result.mesh(level).vertices, alone.mesh(level).vertices)
        assert torch.equal(result.maps.albedo, alone.maps.albedo)
        assert result.photographs == alone.photographs
        assert result.provenance == alone.provenance
        assert result.warnings == alone.warnings
        assert result.model is face()
        result.maps.albedo.add_(0.0)  # memory of its own, which may be written
    assert [p.done for p in told if p.step is None] == [1, 2, 3]
    assert {p.step.stage for p in told if p.step is not None} == {"skin"}


def test_a_subject_that_fails_leaves_the_others_alone_and_its_error_keeps_its_type(pool):
    missing = hrnfit.Capture("no/such/photograph.png", name="gone")
    found = run(pool, [blind("lost"), missing, THREE[0]])
    assert type(found[0]) is ValueError
    assert "lie outside the" in str(found[0])
    assert isinstance(found[0].__cause__, RaisedInProcess)
    assert "load_views" in str(found[0].__cause__)
    assert isinstance(found[1], FileNotFoundError)
    assert isinstance(found[2], FitResult)


def test_on_request_the_first_failure_ends_the_batch(pool):
    lost = [blind(str(i)) for i in range(4)]
    with pytest.raises(BatchError, match=r"subject '.': .* lie outside the") as caught:
        run(pool, lost, on_error="raise")
    assert caught.value.results[3] is None


def test_finish_and_save_are_done_in_the_process(pool, tmp_path, monkeypatch):
    first, second = run(pool, THREE[:2], finish=finish)
    name, process, model = first
    assert (name, model) == ("all", face())
    assert process != os.getpid()
    assert isinstance(second, UnfinishedError)
    assert "subject 'two' was fitted, but the disk is full" in str(second)
    assert isinstance(second.__cause__, OSError)
    assert second.result is not None
    assert second.result.model is face()
    monkeypatch.chdir(tmp_path)
    (folder,) = run(pool, THREE[1:2], save="out")
    assert (tmp_path / folder / "result.json").is_file()


def test_a_process_that_dies_is_its_subjects_error_and_is_replaced(pool):
    before = [p for p in pool._slots if p is not None]
    found = run(pool, [replace(THREE[0], landmarks=None), *THREE[1:]], detector=Ends("exit"))
    assert isinstance(found[0], ProcessEndedError)
    assert (
        str(found[0])
        == "subject 'all': the process that fitted it ended by itself with exit code 3"
    )
    assert all(isinstance(result, FitResult) for result in found[1:])
    odd = run(pool, [replace(THREE[0], landmarks=None)], detector=Ends("odd"))[0]
    assert sum(p in before for p in pool._slots) == 1
    assert isinstance(odd, UnfinishedError)
    assert str(odd).startswith("Odd: no way (")
    assert odd.result is None


def test_a_subject_for_which_memory_was_short_is_repeated_when_the_others_gave_theirs_back(
    pool, monkeypatch, caplog
):
    gave: list[torch.device] = []
    true = pool.give_back
    monkeypatch.setattr(pool, "give_back", lambda device: (gave.append(device), true(device)))
    found = run(pool, [replace(THREE[0], landmarks=None), THREE[1]], detector=Ends("short"))
    assert isinstance(found[0], hrnfit.OutOfMemoryError)
    assert isinstance(found[1], FitResult)
    assert gave == [torch.device("cpu")]
    assert "1 subjects ran out of memory: repeated alone" in caplog.text


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no pthread_kill")
def test_an_interrupt_hands_over_what_is_finished_and_ends_the_processes_at_work(pool):
    def interrupted(step: BatchProgress) -> None:
        if step.done == 1 and step.step is None:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]

    slow = replace(THREE[1], landmarks=None)
    began = time.perf_counter()
    with pytest.raises(BatchInterrupted, match="of 3 subjects") as caught:
        run(pool, [slow, THREE[0], THREE[2]], detector=Ends("sleep"), progress=interrupted)
    assert time.perf_counter() - began < 30  # not the 60 s of the detector
    assert caught.value.results[0] is None
    assert isinstance(caught.value.results[1], FitResult)
    assert sum(p is None for p in pool._slots) in (1, 2)


def test_what_is_wrong_with_the_call_is_said_before_any_work(pool):
    with pytest.raises(
        TypeError, match=r"finish: cannot be pickled.*; pass a function of a module"
    ):
        run(pool, THREE, finish=lambda name, result: name)
    with pytest.raises(ValueError, match="model: the processes have theirs"):
        run(pool, THREE, model="generic")
    with pytest.raises(
        ValueError, match="device: 'cuda', but the processes were started for 'cpu'"
    ):
        run(pool, THREE, device="cuda")
    with pytest.raises(ValueError, match="workers: given beside processes="):
        batch(THREE, workers=2, processes=2)
    with pytest.raises(ValueError, match="processes: expected at least 1, got 0"):
        batch(THREE, processes=0)
    with pytest.raises(ValueError, match="processes: they are not running"):
        hrnfit.fit_batch(THREE, processes=hrnfit.BatchProcesses(2, model=face()))


def test_a_subject_that_cannot_be_sent_is_its_own_error(pool):
    odd = replace(THREE[0], name="odd", frames=memoryview(bytes(3)))  # type: ignore[arg-type]
    with pytest.raises(BatchError, match="subject 'odd': cannot be pickled"):
        run(pool, [odd], on_error="raise")


def test_a_process_that_was_not_given_the_model_is_not_lent():
    process = FitProcess(0, 1, face())
    try:
        assert not process.usable
    finally:
        process.end()


def test_a_process_that_follows_one_still_being_left_stays():
    """A batch that was ended leaves its processes while the next one already completes the set."""
    pool = hrnfit.BatchProcesses(1, model=face(), device="cpu")
    made: list[Any] = []

    class Left:
        usable = False

        def end(self) -> None:
            made.append(self)

    mine, next_one = Left(), Left()
    mine.usable = True
    pool._slots[0] = mine  # type: ignore[assignment]
    with pool.lent() as lent:
        assert lent is mine
        pool._slots[0] = next_one  # type: ignore[assignment]
        mine.usable = False
    assert made == [mine]
    assert pool._slots[0] is next_one


def test_all_processes_start_before_the_first_is_given_the_model(monkeypatch):
    """Each imports torch for seconds before it reads what it is sent."""
    told: list[str] = []

    class Told(FitProcess):
        def __init__(self, number: int, threads: int, model: Any) -> None:
            self.number = number
            told.append(f"start {number}")

        def send(self, parcel: Any) -> None:
            told.append(f"send {self.number}")

        def answer(self, *_: Any) -> None:
            told.append(f"answer {self.number}")

        def dismiss(self) -> None:
            pass

        end = dismiss

    monkeypatch.setattr(batch_processes, "FitProcess", Told)
    with hrnfit.BatchProcesses(2, model=face(), device="cpu"):
        assert told == ["start 0", "start 1", "send 0", "send 1", "answer 0", "answer 1"]


def test_a_process_that_is_being_started_starts_none(monkeypatch):
    monkeypatch.setattr(
        batch_processes.multiprocessing.current_process(), "_inheriting", True, raising=False
    )
    with pytest.raises(RuntimeError, match="under `if __name__ == '__main__':`"):
        batch(THREE, processes=1)


def test_on_a_gpu_processes_are_as_many_as_the_memory_allows(pool, monkeypatch, caplog):
    gigabyte = 10**9
    rooms = [Room(gigabyte, gigabyte, 8 * gigabyte), Room(), Room()]
    monkeypatch.setattr(pool, "count", 3)
    monkeypatch.setattr(pool, "rooms", lambda device: rooms)
    place = InProcesses(pool, b"", torch.device("cuda", 0), False)

    def needed(total: int | None) -> int:
        assert total == 8 * gigabyte
        return 400_000_000

    assert place.workers(9, needed) == 2
    assert "the memory of cuda:0 is for 2 of 3 processes" in caplog.text
    assert place.workers(1, needed) == 1
