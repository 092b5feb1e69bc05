"""Values kept with a tensor: made once, and gone with it. Constants: made once, and never replaced, or kept while they
were asked for lately."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
import torch

from hrnfit.geometry.kept import held_constants, kept_for_good, kept_lately, kept_with


class Made:
    pass


def test_a_value_is_made_once_per_tensor_and_key():
    owner, equal, calls = torch.zeros(3), torch.zeros(3), []

    def make() -> Made:
        calls.append(1)
        return Made()

    first = kept_with(owner, "a", make)
    assert kept_with(owner, "a", make) is first
    assert kept_with(owner, "b", make) is not first
    assert kept_with(equal, "a", make) is not first
    assert len(calls) == 3


def test_a_value_goes_with_its_tensor():
    owner = torch.zeros(3)
    gone = weakref.ref(kept_with(owner, "a", Made))
    assert gone() is not None
    del owner
    gc.collect()
    assert gone() is None


def test_threads_that_ask_at_once_get_one_constant():
    """One that is made twice would be freed under the recording of the thread that made it first."""
    together, made, found = threading.Barrier(3), [], []

    @kept_for_good
    def constant(size: int) -> torch.Tensor:
        time.sleep(0.05)
        made.append(size)
        return torch.zeros(size)

    def ask() -> None:
        together.wait()
        found.append(constant(2))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [2]
    assert all(x is found[0] for x in found)
    assert constant(3) is not constant(2)


def test_of_constants_that_change_the_last_are_kept():
    made: list[float] = []

    @kept_lately(most=3)
    def constant(value: float) -> torch.Tensor:
        made.append(value)
        return torch.tensor(value)

    left = [weakref.ref(constant(float(k))) for k in range(20)]
    assert [k for k, x in enumerate(left) if x() is not None] == [17, 18, 19]
    first = constant(17.0)
    assert first is left[17]()
    constant(20.0)  # asked for least lately was 18
    assert len(made) == 21
    assert constant(17.0) is first
    assert constant(18.0).item() == 18.0
    assert made[-1] == 18.0


def test_what_reads_a_constant_can_hold_it():
    @kept_lately(most=1)
    def constant(value: float) -> torch.Tensor:
        return torch.tensor(value)

    with held_constants() as held:
        inner = weakref.ref(constant(1.0))
        constant(2.0)
    outer = weakref.ref(constant(3.0))
    constant(4.0)
    assert [x.item() for x in held] == [1.0, 2.0]
    assert inner() is held[0]
    assert outer() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_streams_have_constants_of_their_own():
    """What one gives back is reused in its own order, which knows nothing of another's reads."""

    @kept_lately(most=4)
    def constant(value: float, device: torch.device) -> torch.Tensor:
        return torch.tensor(value, device=device)

    device = torch.device("cuda", torch.cuda.current_device())
    first = constant(1.0, device)
    with torch.cuda.stream(torch.cuda.Stream()):
        assert constant(1.0, device) is not first
    assert constant(1.0, device) is first


def test_threads_keep_constants_of_their_own():
    """What one has asked for lately another cannot push out, while that records."""

    @kept_lately(most=1)
    def constant(value: float) -> torch.Tensor:
        return torch.tensor(value)

    first = constant(1.0)
    thread = threading.Thread(target=lambda: constant(2.0))
    thread.start()
    thread.join()
    assert constant(1.0) is first
