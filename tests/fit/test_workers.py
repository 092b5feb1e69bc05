"""Threads side by side: who does what is tested with the batch, here what they leave behind."""

from __future__ import annotations

import torch

from hrnfit.fit.workers import Crew


def test_torch_has_its_threads_back():
    before, inside = torch.get_num_threads(), []
    torch.set_num_threads(6)  # with one thread there would be nothing to divide
    try:
        Crew(torch.device("cpu"), 3).run(
            range(3), lambda: lambda index: inside.append(torch.get_num_threads())
        )
        assert torch.get_num_threads() == 6
    finally:
        torch.set_num_threads(before)
    assert inside == [2, 2, 2]
