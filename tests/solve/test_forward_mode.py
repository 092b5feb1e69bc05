from functools import partial

import pytest
import torch
from torch import Tensor

from hrnfit.derivative import forward_jacobian
from hrnfit.energy.kernel import KERNELS, robust_scale
from hrnfit.solve.block import energy, normal_equations
from hrnfit.solve.forward_mode import ForwardBlock
from hrnfit.solve.levenberg_marquardt import LevenbergMarquardt


def waves(x: Tensor) -> Tensor:
    grid = torch.linspace(0, 1, 40, dtype=x.dtype)
    return x[0] * torch.sin(3 * x[1] * grid) + x[2] * grid - 0.3 * grid.cos()


@pytest.mark.parametrize("columns", [1, 2, 16])
def test_jacobian_is_that_of_reverse_mode(columns):
    x = torch.tensor([0.7, 1.1, -0.4], dtype=torch.float64)
    value, J = forward_jacobian(waves, x, columns)
    assert torch.equal(value, waves(x))
    assert torch.allclose(J, torch.autograd.functional.jacobian(waves, x))


def test_views_that_share_one_leaf_accumulate(generator):
    """Per-view light, one shared shape: the blocks' sum is the system of all residuals at once."""
    data = torch.randn(3, 20, 4, generator=generator, dtype=torch.float64)

    def view(v: int, shape: Tensor, light: Tensor) -> Tensor:
        return (data[v] @ torch.cat([shape, light])).tanh() - 0.1

    blocks = [
        ForwardBlock((("shape", None), ("light", v)), partial(view, v), columns_at_once=3)
        for v in range(3)
    ]
    leaves = {
        "shape": torch.randn(2, generator=generator, dtype=torch.float64),
        "light": torch.randn(3, 2, generator=generator, dtype=torch.float64),
    }

    def everything(x: Tensor) -> Tensor:
        light = x[2:].reshape(3, 2)
        return torch.cat([view(v, x[:2], light[v]) for v in range(3)])

    x = torch.cat([leaves["shape"], leaves["light"].reshape(-1)])
    J = torch.autograd.functional.jacobian(everything, x)
    found = normal_equations(blocks, leaves)
    assert torch.allclose(found.hessian, J.mT @ J)
    assert torch.allclose(found.gradient, J.mT @ everything(x))


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_robust_gradient_is_exact(kernel):
    x = torch.tensor([0.7, 1.1, -4.0], dtype=torch.float64, requires_grad=True)
    block = ForwardBlock((("x", None),), waves, partial(robust_scale, kernel=kernel))
    (expected,) = torch.autograd.grad(0.5 * KERNELS[kernel](waves(x)).sum(), x)
    leaves = {"x": x.detach()}
    found = normal_equations([block], leaves)
    assert torch.allclose(found.gradient, expected, atol=1e-8)
    assert torch.allclose(found.energy, energy([block], leaves))


def test_robust_fit_ignores_outliers():
    t = torch.linspace(0, 1, 60, dtype=torch.float64)
    y = 2.0 * t + 1.0
    y[::6] += 40.0  # one in six is far off

    def line(x: Tensor) -> Tensor:
        return x[0] * t + x[1] - y

    block = ForwardBlock((("x", None),), line, partial(robust_scale, kernel="geman_mcclure"))
    start = {"x": torch.tensor([1.5, 1.5], dtype=torch.float64)}
    found = LevenbergMarquardt().minimize([block], start).leaves["x"]
    assert torch.allclose(found, torch.tensor([2.0, 1.0], dtype=torch.float64), atol=5e-3)
