"""What comes out of a parcel is what was put in, with memory of its own and the receiver's model."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hrnfit.fit import parcels
from hrnfit.fit.parcels import opened, packed, packed_whole, receive, send

MODEL = {"basis": torch.ones(1000)}


def refuse(*_: object) -> int:
    raise OSError("no room")


@pytest.fixture(params=["memory", "no room", "pipe"])
def way(request, monkeypatch, tmp_path) -> str:
    """How large buffers travel; other systems than Linux have the pipe alone."""
    if request.param == "pipe":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    if request.param == "no room":
        some = partial(os.open, tmp_path / "some", os.O_RDWR | os.O_CREAT)
        full = SimpleNamespace(memfd_create=lambda name: some(), write=refuse)
        monkeypatch.setattr(parcels, "os", full)
    return request.param


def through(value: object) -> Any:
    """The value after a pipe, which holds less than what the tests send."""
    here, there = multiprocessing.Pipe()
    sender = threading.Thread(target=send, args=(here, packed(value)))
    sender.start()
    parcel = receive(there)
    sender.join()
    return opened(parcel)


def test_tensors_and_arrays_arrive_with_memory_that_may_be_written(way):
    tensor, array = torch.arange(400_000.0).reshape(2, -1), np.arange(5, dtype=np.uint8)
    first, second, empty, scalar = through((tensor, array, torch.zeros(0, 3), torch.tensor(2)))
    assert torch.equal(first, tensor)
    assert np.array_equal(second, array)
    assert (empty.shape, scalar.item()) == ((0, 3), 2)
    first += 1
    second += 1
    assert torch.equal(first, tensor + 1)
    assert tensor[0, 0] == array[0] == 0


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memfd_create")
def test_nobody_waits_for_the_reader_of_large_buffers_and_no_descriptor_stays():
    here, there = multiprocessing.Pipe()
    before = len(os.listdir("/proc/self/fd"))
    sent = [packed(torch.full((1_000_000,), float(i))) for i in range(3)]
    for parcel in sent:
        send(here, parcel)
    found = [opened(receive(there)) for _ in sent]
    assert [float(tensor.mean()) for tensor in found] == [0.0, 1.0, 2.0]
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_default_timeout_of_sockets_is_none_of_its_business(way):
    """Handing over a descriptor opens the connection as a socket, which would take that timeout for good."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5.0)
    try:
        here, there = multiprocessing.Pipe()
        sender = threading.Thread(target=send, args=(here, packed(torch.ones(400_000))))
        sender.start()
        assert float(opened(receive(there)).sum()) == 400_000
        sender.join()
        assert os.get_blocking(here.fileno())
        assert os.get_blocking(there.fileno())
    finally:
        socket.setdefaulttimeout(before)


def test_the_memory_is_sent_as_it_is_and_a_slice_without_the_rest():
    tensor = torch.zeros(100_000)
    parcel = packed((tensor, tensor))
    assert len(parcel.content) < 500
    assert parcel.size - len(parcel.content) == 400_000  # the same tensor once
    assert packed(tensor[:10]).size < 1000
    assert packed(torch.zeros(8, 8).T[1:]).size < 1000


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(3, requires_grad=True),
        torch.eye(3).to_sparse(),
        torch.arange(12).reshape(3, 4).T,
    ],
    ids=["bfloat16", "gradient", "sparse", "transposed"],
)
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # torch 2.11, when it unpickles one
def test_tensors_that_are_no_array_arrive_as_well(tensor):
    found = through(tensor)
    assert (found.dtype, found.requires_grad, found.layout) == (
        tensor.dtype,
        tensor.requires_grad,
        tensor.layout,
    )
    assert torch.equal(found.to_dense(), tensor.to_dense())


def test_the_model_is_that_of_whoever_opens():
    ours = object()
    parcel = packed({"held": [MODEL]}, MODEL)
    assert parcel.size < 100
    assert opened(parcel, ours)["held"][0] is ours
    assert opened(packed_whole([MODEL], MODEL), ours)[0] is ours
    with pytest.raises(pickle.UnpicklingError, match="mark for the model"):
        opened(parcel)


def test_an_end_that_is_gone_is_an_error(way):
    here, there = multiprocessing.Pipe()
    there.close()
    with pytest.raises(OSError, match="ipe"):
        send(here, packed(torch.zeros(1_000_000)))
    with pytest.raises((EOFError, OSError)):
        receive(here)
