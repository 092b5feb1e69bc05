"""Values kept with their owner: made once, apart by identity, gone with it."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from hrnfit.geometry.kept import Kept


@dataclass(frozen=True)
class Owner:
    """Equal owners are not the same one, and a tensor in it has no hash."""

    numbers: torch.Tensor


class Slotted:
    __slots__ = ()


def test_a_value_is_made_once_per_owner_and_key():
    kept: Kept[list[int]] = Kept()
    first, second = Owner(torch.zeros(2)), Owner(torch.zeros(2))
    value = kept.of(first, "a", lambda: [1])
    assert kept.of(first, "a", lambda: [2]) is value
    assert kept.of(first, "b", lambda: [3]) == [3]
    assert kept.of(second, "a", lambda: [4]) == [4]
    assert len(kept) == 2


def test_values_go_with_their_owner():
    kept: Kept[list[int]] = Kept()
    owner = Owner(torch.zeros(2))
    kept.of(owner, "a", lambda: [1])
    del owner
    gc.collect()
    assert len(kept) == 0


def test_an_owner_that_cannot_be_watched_keeps_nothing():
    kept: Kept[list[int]] = Kept()
    owner = Slotted()
    assert kept.of(owner, "a", lambda: [1]) == [1]
    assert kept.of(owner, "a", lambda: [2]) == [2]
    assert len(kept) == 0


def test_threads_share_one_value():
    kept: Kept[object] = Kept()
    owner = Owner(torch.zeros(2))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kept.of(owner, "a", object), range(64)))
    assert all(value is found[0] for value in found)
