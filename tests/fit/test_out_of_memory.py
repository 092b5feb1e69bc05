"""A fit without enough memory says what it wanted and keeps what it had finished."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import hrnfit
from hrnfit.energy.pieces import AT_ONCE, pieces
from hrnfit.fit import fallback, record, stages
from hrnfit.fit.fallback import alone, beside_others
from hrnfit.fit.out_of_memory import OutOfMemoryError, Shortage, is_out_of_memory, release_frames
from hrnfit.fit.result import FitResult
from tests.fit.small_scene import face
from tests.fit.test_batch import SKIN, SMALL, THREE

TWO_STAGES = replace(SMALL, stages=(SMALL.stages[0], replace(SMALL.stages[0], name="closer")))
SAID = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"


@pytest.fixture
def short_of_memory(monkeypatch):
    """Fails in the stages of these names as torch does on a GPU."""

    def of(*names: str) -> None:
        true = stages._solve

        def solve(scene, state, stage, **rest):
            if stage.name in names:
                raise torch.OutOfMemoryError(SAID)
            return true(scene, state, stage, **rest)

        monkeypatch.setattr(stages, "_solve", solve)

    return of


def fit(recipe=TWO_STAGES) -> FitResult:
    one = THREE[1]
    return hrnfit.fit(one.images, one.cams, masks=one.masks, landmarks=one.landmarks,
                      model=face(), recipe=recipe, device="cpu")  # fmt: skip


def test_the_finished_stages_are_a_result_to_continue_from(short_of_memory):
    short_of_memory("closer")
    with pytest.raises(OutOfMemoryError) as caught:
        fit()
    partial = caught.value.partial
    assert partial is not None
    assert [stage.name for stage in partial.stages] == ["landmarks", SKIN["name"]]
    assert 0 < partial.stages[0].seconds < partial.seconds
    assert "memory ran out during stage 'closer'" in partial.warnings[-1]
    assert torch.equal(partial.state.deformation, fit(SMALL).state.deformation)
    one = THREE[1]
    again = hrnfit.fit(one.images, one.cams, masks=one.masks, landmarks=one.landmarks,
                       model=face(), recipe=SMALL, device="cpu", start=partial)  # fmt: skip
    assert again.stages[0].name == "result"


def test_the_message_says_what_was_wanted_and_what_to_do(short_of_memory):
    short_of_memory("skin")
    with pytest.raises(
        OutOfMemoryError,
        match=r"out of memory on cpu during stage 'skin', 2.00 GiB more were asked for, .* were free"
        r".*max_size.*workers=1",
    ) as caught:
        fit()
    assert caught.value.partial is None
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_a_result_that_does_not_fit_either_leaves_the_error_without_it(
    short_of_memory, monkeypatch
):
    short_of_memory("closer")

    def none_left(*_, **__):
        raise MemoryError

    monkeypatch.setattr(record, "fit_appearance", none_left)
    with pytest.raises(OutOfMemoryError) as caught:
        fit()
    assert caught.value.partial is None


def test_a_fit_that_lacks_memory_for_its_last_step_only_is_finished_on_the_cpu(monkeypatch):
    true, calls = record.fit_appearance, []

    def once_too_large(scene, state):
        calls.append(scene)
        if len(calls) == 1:
            raise torch.OutOfMemoryError(SAID)
        return true(scene, state)

    monkeypatch.setattr(record, "fit_appearance", once_too_large)
    result = fit(SMALL)
    assert "memory ran out during the assembly of the result: it was done on the CPU" in (
        result.warnings
    )
    monkeypatch.undo()
    assert torch.equal(result.maps.albedo, fit(SMALL).maps.albedo)


@pytest.mark.parametrize(("short", "how"), [(1, []), (2, ["in small pieces"]), (3, ["on the CPU"])])
def test_on_a_device_the_last_step_is_done_once_more_before_the_cpu_does_it(
    monkeypatch, short, how
):
    elsewhere, true = torch.device("meta"), record.fit_appearance
    rescued, pieces_then = record.Record.rescued, []
    monkeypatch.setattr(fallback, "give_back", lambda device: None)
    monkeypatch.setattr(record, "give_back", lambda device: None)
    monkeypatch.setattr(
        record.Record, "rescued", lambda self, *a: rescued(replace(self, device=elsewhere), *a)
    )

    def too_large(scene, state):
        pieces_then.append(len(pieces(1, AT_ONCE)))
        if len(pieces_then) <= short:
            raise torch.OutOfMemoryError(SAID)
        return true(scene, state)

    monkeypatch.setattr(record, "fit_appearance", too_large)
    result = fit(SMALL)
    told = "memory ran out during the assembly of the result: it was done "
    assert [w.removeprefix(told) for w in result.warnings if "memory" in w] == how
    assert pieces_then == [1, 1, 8, 1][: short + 1]


def test_beside_other_fits_nothing_is_assembled_for_the_error(short_of_memory):
    short_of_memory("closer")
    with beside_others(), pytest.raises(OutOfMemoryError) as caught:
        fit()
    assert caught.value.partial is None
    assert alone()


def test_all_libraries_are_understood():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError(SAID))
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    )
    assert is_out_of_memory(RuntimeError("CUDA driver error: out of memory"))
    broken_off = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    assert not is_out_of_memory(broken_off)
    broken_off.__context__ = torch.OutOfMemoryError(SAID)
    assert is_out_of_memory(broken_off)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_frames_of_an_error_let_go_of_their_tensors():
    held = []

    class Photograph:
        def __del__(self):
            held.remove(self.number)

        def __init__(self, number: int) -> None:
            self.number = number
            held.append(number)

    def inner() -> None:
        photograph = Photograph(1)
        raise ValueError(f"number {photograph.number}")

    def outer() -> None:
        photograph = Photograph(2)
        try:
            inner()
        except ValueError as error:
            raise RuntimeError(f"number {photograph.number}") from error

    try:
        outer()
    except RuntimeError as error:
        kept = error
    assert sorted(held) == [1, 2]
    release_frames(kept)
    assert held == []


def test_a_shortage_on_a_gpu_names_it_and_what_the_fit_needs():
    shortage = Shortage(
        torch.device("cuda", 1), "stage 'pores'", 5_100_000_000, 1_200_000_000, 8_500_000_000, SAID
    )
    assert shortage.message(kept=True).startswith(
        "out of memory on cuda:1 during stage 'pores', 2.00 GiB more were asked for, 1.2 GB of 8.5 GB "
        "were free, the whole fit needs up to 5.1 GB; shrink the photographs (max_size)"
    )
    assert "device='cpu'" in shortage.message(kept=True)
    assert shortage.message(kept=True).endswith("(`partial`)")
    assert not shortage.message(kept=False).endswith("(`partial`)")


def test_on_the_cpu_the_bound_of_a_gpu_is_not_told():
    shortage = Shortage(torch.device("cpu"), "the start", 5_100_000_000, 10**9, 8 * 10**9, SAID)
    assert "whole fit" not in shortage.message(kept=False)
    assert "1.0 GB of 8.0 GB were free" in shortage.message(kept=False)


def test_an_error_of_a_fit_that_is_tried_again_after_one_of_memory_is_its_own():
    def broken_off() -> None:
        try:
            raise torch.OutOfMemoryError("no room")
        except RuntimeError:
            raise RuntimeError("recording was broken off")  # noqa: B904

    def caught(raising) -> BaseException:
        try:
            raising()
        except Exception as error:
            return error
        raise AssertionError

    def again() -> None:
        raise ValueError("no face was found")

    assert is_out_of_memory(caught(broken_off))
    try:
        raise MemoryError
    except MemoryError:
        error = caught(again)
        assert is_out_of_memory(caught(broken_off))
    assert isinstance(error.__context__, MemoryError)
    assert not is_out_of_memory(error)
