"""The fill that looks at every texel: the same as the one that gathers the unknown ones."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry import map_fill
from hrnfit.geometry.map_fill import fill
from hrnfit.geometry.whole_fill import relaxed_whole
from tests.host_reads import HostReads

F64 = torch.float64


def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU relax as other devices do."""

    def relaxed(start, neighbours, share, free, used, sweeps):
        width = used.shape[1]
        return relaxed_whole(
            start, neighbours, share, free, width, sweeps, map_fill.OVER_RELAXATION
        )

    monkeypatch.setattr(map_fill, "_relaxed", relaxed)


@pytest.mark.parametrize("shape", [(16, 20), (15, 21), (15, 20), (7, 5), (1, 9), (1, 1), (2, 3)])
def test_it_fills_as_the_gathered_one(shape, generator, monkeypatch):
    values = torch.randn(*shape, 3, dtype=F64, generator=generator)
    known = torch.rand(shape, generator=generator) > 0.8
    used = torch.rand(shape, generator=generator) > 0.1
    guide = torch.randn(*shape, 2, dtype=F64, generator=generator)
    values[~known] = torch.nan  # what is not known may be anything
    expected = fill(values, known, used, guide, 1.3, sweeps=5)
    whole(monkeypatch)
    torch.testing.assert_close(
        fill(values, known, used, guide, 1.3, sweeps=5), expected, atol=1e-12, rtol=0
    )


def test_no_value_is_asked_for(generator, monkeypatch):
    values = torch.randn(15, 20, 3, generator=generator)
    known = torch.rand(15, 20, generator=generator) > 0.8
    guide = torch.randn(15, 20, 2, generator=generator)
    whole(monkeypatch)
    with HostReads() as reads:
        fill(values, known, torch.ones_like(known), guide)
    assert reads.found == []


def test_two_free_texels_by_hand():
    """Between 0 and 3 in a row of four; at pace 1 each takes the mean of its neighbours, first the even."""
    start = torch.tensor([[0.0], [6.0], [0.0], [3.0]])
    neighbours = torch.tensor([[0, 1, 0, 0], [2, 0, 1, 1], [3, 1, 2, 2], [3, 2, 3, 3]])
    share = torch.tensor([[0, 1, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0]])
    free = torch.tensor([False, True, True, False])
    moved = relaxed_whole(start, neighbours, share, free, 4, 1, 1.0)
    torch.testing.assert_close(moved[:, 0], torch.tensor([0.0, 2.25, 4.5, 3.0]))
    assert torch.equal(start[:, 0], torch.tensor([0.0, 6.0, 0.0, 3.0]))  # an argument stays


def test_gradient(generator):
    start = torch.randn(9, 2, dtype=F64, generator=generator, requires_grad=True)
    at = torch.arange(9)[:, None]
    neighbours = torch.cat([(at + 1) % 9, (at - 1) % 9, at, at], 1)
    share = torch.tensor([0.25, 0.75, 0, 0], dtype=F64).expand(9, 4)
    free = torch.arange(9) % 3 > 0
    assert torch.autograd.gradcheck(
        lambda x: relaxed_whole(x, neighbours, share, free, 3, 2, 1.5), start
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_a_gpu(generator):
    values = torch.randn(130, 97, 3, generator=generator)
    known = torch.rand(130, 97, generator=generator) > 0.9
    used = torch.rand(130, 97, generator=generator) > 0.05
    there = fill(values.cuda(), known.cuda(), used.cuda())
    torch.testing.assert_close(there.cpu(), fill(values, known, used), atol=1e-5, rtol=0)
