"""Which tensors kernels without derivatives take."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.derivative import forward_jacobian
from hrnfit.geometry import device_kernels
from hrnfit.geometry.device_kernels import underived
from hrnfit.geometry.launched import INTERPRETED
from hrnfit.geometry.rotation import rotation_exp
from hrnfit.render.shade import plain_basis, sh_basis

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")


@pytest.fixture(autouse=True)
def kernels_here(monkeypatch):
    monkeypatch.setattr(device_kernels, "DEVICES", frozenset({DEVICE.type}))


def test_tensors_that_ask_for_no_derivative():
    x, leaf = torch.zeros(3, device=DEVICE), torch.zeros(3, device=DEVICE, requires_grad=True)
    assert underived(x)
    assert not underived(x, leaf)
    assert underived(leaf.detach())
    with torch.no_grad():
        assert underived(leaf)


def test_other_devices_have_none(monkeypatch):
    monkeypatch.setattr(device_kernels, "DEVICES", frozenset())
    assert not underived(torch.zeros(3, device=DEVICE))


@pytest.mark.parametrize("function", [sh_basis, rotation_exp])
def test_inside_transformations_plain_torch_is_taken(function, generator):
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator).to(DEVICE)
    found: list[bool] = []

    def noted(v: torch.Tensor) -> torch.Tensor:
        found.append(underived(v))
        return function(v.view(-1, 3)).flatten()

    outer = noted(x)
    torch.testing.assert_close(torch.func.vmap(noted)(x).flatten(), outer, atol=1e-12, rtol=0)
    assert found == [True, False]
    for at_once in (1, 16):
        slopes = forward_jacobian(noted, x.flatten(), at_once)[1]
        step = 1e-6 * torch.eye(15, dtype=x.dtype, device=DEVICE)
        central = [(noted(x.flatten() + h) - noted(x.flatten() - h)) / 2e-6 for h in step]
        torch.testing.assert_close(slopes, torch.stack(central, -1), atol=1e-7, rtol=0)


def test_the_basis_has_a_derivative_where_one_is_asked_for(generator):
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator).to(DEVICE).requires_grad_()
    torch.testing.assert_close(sh_basis(x.detach()), plain_basis(x.detach()), atol=1e-12, rtol=0)
    (mine,) = torch.autograd.grad(sh_basis(x).square().sum(), x)
    (plain,) = torch.autograd.grad(plain_basis(x).square().sum(), x)
    torch.testing.assert_close(mine, plain)
