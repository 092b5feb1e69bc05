"""The fill by kernels against that in plain torch on the CPU: in the interpreter, or on a device."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.geometry import fill_cuda
from hrnfit.geometry.fill_cuda import device_fill
from hrnfit.geometry.launched import INTERPRETED
from hrnfit.geometry.map_fill import OVER_RELAXATION, fill

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

F64 = torch.float64


@pytest.mark.parametrize("shape", [(15, 20), (7, 5), (1, 9), (1, 1), (2, 3)])
@pytest.mark.parametrize("most", [0, 30])
def test_it_fills_as_plain_torch(shape, most, generator, monkeypatch):
    monkeypatch.setattr(fill_cuda, "ONE_PROGRAM", most)
    values = torch.randn(*shape, 3, dtype=F64, generator=generator)
    known = torch.rand(shape, generator=generator) > 0.8
    used = torch.rand(shape, generator=generator) > 0.1
    values[~known] = torch.nan  # what is not known may be anything
    expected = fill(values, known, used, sweeps=2)
    given = (x.to(DEVICE) for x in (values, known, used))
    ours = device_fill(*given, 2, OVER_RELAXATION).cpu()
    # places between pixels and the pace are float32, whatever the maps are
    torch.testing.assert_close(ours, expected, atol=2e-6, rtol=0)


def test_nothing_known_gives_zero():
    none = torch.zeros(4, 6, dtype=torch.bool, device=DEVICE)
    ours = device_fill(torch.ones(4, 6, 1, device=DEVICE), none, ~none, 2, OVER_RELAXATION)
    assert torch.equal(ours.cpu(), torch.zeros(4, 6, 1))
