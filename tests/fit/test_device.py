"""Names of devices, and which of them exist; a fit on the second GPU leaves the first alone."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.device import current_device, named_device, numbered


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine that seems to have two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"card {i}")


def test_names_stand_for_devices(two_gpus):
    assert named_device("cpu") == torch.device("cpu")
    assert named_device("cuda") == torch.device("cuda")
    assert named_device("cuda:1") == torch.device("cuda", 1)


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(two_gpus):
    with pytest.raises(
        ValueError, match=r"'cuda:2': .* there are: cuda:0 \(card 0\), cuda:1 \(card 1\)"
    ):
        named_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda:", "cuda:-1", "cuda:one", "gpu", "cpu:0", "CUDA"])
def test_other_names_are_refused(two_gpus, name):
    with pytest.raises(ValueError, match=r"expected auto, cpu, cuda or cuda:N"):
        named_device(name)


def test_without_a_gpu_every_number_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda:1': torch sees no CUDA GPU"):
        named_device("cuda:1")


def test_a_device_for_a_new_thread_has_its_number(two_gpus):
    assert numbered(torch.device("cuda")) == torch.device("cuda", 1)
    assert numbered(torch.device("cuda", 0)) == torch.device("cuda", 0)
    assert numbered(torch.device("cpu")) == torch.device("cpu")


def test_the_cpu_needs_no_current_device():
    with current_device(torch.device("cpu")):
        assert torch.zeros(1).device == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch sees fewer than two CUDA devices")
def test_work_on_the_second_gpu_leaves_the_first_alone():
    before = torch.cuda.memory_allocated(0)
    with current_device(torch.device("cuda", 1)):
        made = torch.zeros(1000, device="cuda")
        assert made.device == torch.device("cuda", 1)
    assert torch.cuda.memory_allocated(0) == before
