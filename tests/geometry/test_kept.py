"""Values kept with a tensor: made once, and gone with it."""

from __future__ import annotations

import gc
import weakref

import torch

from hrnfit.geometry.kept import kept_with


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
