import pytest
import torch

from hrnfit.energy.kernel import KERNELS, WEIGHTS, robust_scale

NAMES = sorted(KERNELS)


def test_values_by_hand():
    r = torch.tensor([0.0, 0.5, 3.0], dtype=torch.float64)
    expected = {
        "square": [0.0, 0.25, 9.0],
        "huber": [0.0, 0.25, 5.0],
        "geman_mcclure": [0.0, 0.2, 0.9],
        "abs": [0.0, 0.49, 2.99],
    }
    for name, values in expected.items():
        assert torch.allclose(KERNELS[name](r), torch.tensor(values).double(), atol=2e-4), name


def test_every_kernel_has_its_weight():
    assert set(KERNELS) == set(WEIGHTS)


@pytest.mark.parametrize("name", NAMES)
def test_weight_is_the_derivative_over_twice_the_residual(name):
    r = torch.tensor([-4.0, -0.9, 0.003, 0.7, 1.3, 30.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(KERNELS[name](r).sum(), r)
    assert torch.allclose(WEIGHTS[name](r) * 2 * r, slope)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right_and_finite_at_zero(name):
    r = torch.tensor([[-2.0, 0.3], [0.0, 5.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(KERNELS[name], (r,))


@pytest.mark.parametrize("name", NAMES)
def test_kernels_are_even_and_rise(name):
    r = torch.linspace(0.0, 20.0, 200, dtype=torch.float64)
    rho = KERNELS[name](r)
    assert torch.equal(rho, KERNELS[name](-r))
    assert (rho.diff() > 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_robust_scale_gives_energy_and_gradient(name, dtype):
    r = torch.tensor([0.0, 0.2, 1.0, 7.0], dtype=dtype)
    g, a = robust_scale(r.square(), name)
    assert torch.isfinite(g).all()
    assert torch.isfinite(a).all()
    assert torch.allclose((g * r).square(), KERNELS[name](r), atol=1e-5)
    assert torch.allclose((g * r) * a, WEIGHTS[name](r) * r, rtol=1e-3, atol=1e-5)


def test_unknown_kernel_lists_the_known():
    with pytest.raises(ValueError, match="'l2' is unknown; one of square, abs"):
        robust_scale(torch.zeros(1), "l2")
