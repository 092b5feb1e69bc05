"""Values kept with a tensor: made once, and gone with it. Constants: made once, and never replaced."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import torch

from hrnfit.geometry.kept import kept_for_good, kept_with


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
