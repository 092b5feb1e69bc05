"""Recordings: called plainly on the CPU, replayed with new inputs on CUDA."""

from __future__ import annotations

import threading

import pytest
import torch

from hrnfit.solve.recorded import (
    _fill,
    forget_recordings,
    lent_recordings,
    replayed,
    without_recording,
)

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def test_the_cpu_calls_the_function():
    calls = []

    def double(x: torch.Tensor) -> tuple[torch.Tensor]:
        calls.append(x)
        return (2 * x,)

    x = torch.tensor([1.0, 3.0])
    for _ in range(2):
        (out,) = replayed("double", double, (x,))
        assert out.tolist() == [2.0, 6.0]
    assert [call is x for call in calls] == [True, True]


@needs_gpu
def test_a_replay_reads_new_inputs_and_does_not_call_again():
    calls = []

    def double(x: torch.Tensor) -> tuple[torch.Tensor]:
        calls.append(x)
        return (2 * x,)

    forget_recordings()
    for value in (1.0, 5.0, 7.0):
        (out,) = replayed("double", double, (torch.full((3,), value, device="cuda"),))
        assert out.tolist() == [2 * value] * 3
    assert len(calls) == 2  # once to warm up, once to record
    with without_recording():
        replayed("double", double, (torch.ones(3, device="cuda"),))
    assert len(calls) == 3
    replayed("double", double, (torch.ones(4, device="cuda"),))
    assert len(calls) == 5  # other shapes are another recording
    forget_recordings()


@needs_gpu
def test_gradients_can_be_recorded():
    def slope(x: torch.Tensor) -> tuple[torch.Tensor]:
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad((x**3).sum(), x)
        return (grad,)

    for value in (1.0, 2.0):
        (out,) = replayed("slope", slope, (torch.full((2,), value, device="cuda"),))
        assert out.tolist() == [3 * value**2] * 2
    forget_recordings()


@needs_gpu
def test_threads_record_and_replay_beside_each_other_and_hand_on_what_they_made():
    made: list[int] = []

    def scaled(factor: int):
        def function(x: torch.Tensor) -> tuple[torch.Tensor]:
            made.append(factor)
            return (factor * x,)

        return function

    functions = [scaled(factor) for factor in range(4)]
    answers: list[list[float]] = []

    def work() -> None:
        with torch.cuda.stream(torch.cuda.Stream()), lent_recordings():
            for value in (1.0, 2.0):
                for factor, function in enumerate(functions):
                    x = torch.full((1,), value, device="cuda")
                    answers.append(replayed(factor, function, (x,))[0].tolist())

    def run(count: int) -> None:
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    forget_recordings()
    run(3)
    assert sorted(answers) == sorted([[f * v] for f in range(4) for v in (1.0, 2.0)] * 3)
    before = len(made)
    run(1)  # whatever it takes over has recorded all of them
    assert len(made) == before
    assert len(answers) == 32
    forget_recordings()


def test_on_the_cpu_nothing_is_recorded_or_lent():
    with lent_recordings():
        (out,) = replayed("plain", lambda x: (x + 1,), (torch.zeros(2),))
    assert out.tolist() == [1.0, 1.0]


def test_buffers_that_ask_for_gradients_are_filled():
    buffer = torch.zeros(2, requires_grad=True)
    for value in (4.0, 6.0):
        _fill((buffer,), (torch.full((2,), value, requires_grad=True),))
        assert buffer.tolist() == [value] * 2
    assert buffer.requires_grad
    assert buffer.is_leaf
