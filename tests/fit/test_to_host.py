"""Results on the host: what is there already stays, what is not is the same in memory of its own."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.to_host import brought


def test_what_is_on_the_host_is_not_copied():
    x = torch.randn(3, requires_grad=True)
    (found,) = brought((x,))
    assert found.data_ptr() == x.data_ptr()
    assert not found.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_from_a_gpu(generator):
    there = {
        "odd": torch.randn(5, 3, generator=generator),
        "turned": torch.randn(4, 6, generator=generator).T,
        "flags": torch.rand(7, generator=generator) > 0.5,
        "double": torch.randn((), dtype=torch.float64, generator=generator),
        "none": torch.zeros(0, 3),
    }
    found = brought({name: x.cuda() for name, x in there.items()})
    for name, x in there.items():
        assert torch.equal(found[name], x), name
        assert not found[name].is_pinned()
