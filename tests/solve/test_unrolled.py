"""Differentiable first-order steps: by hand, against torch's Adam, derivatives, truncation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from hrnfit.derivative import held
from hrnfit.solve.solver import Leaves
from hrnfit.solve.unrolled import AdamSteps, Energy, GradientSteps, slopes

DOUBLE = {"dtype": torch.float64}
RATES = {"x": 0.05, "y": 0.02}
METHODS = [
    GradientSteps(RATES, steps=4),
    GradientSteps(RATES, steps=4, momentum=0.6),
    AdamSteps(RATES, steps=4),
]


def start(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Leaves x (2, 2), y (3), and a parameter."""
    values = (torch.randn(s, generator=generator, **DOUBLE) for s in ((2, 2), (3,), ()))
    x, y, t = (value.requires_grad_() for value in values)
    return x, y, t


def coupled(t: Tensor) -> Energy:
    """Smooth, not quadratic, with a weight that is held: it hangs on a leaf and on the parameter."""

    def energy(leaves: Leaves) -> Tensor:
        x, y = leaves["x"], leaves["y"]
        weight = held(lambda: (x.sum() + t).sigmoid())
        return weight * (x.sin() - t).square().mean() + (y * t + x[0, 0]).square().mean()

    return energy


def after(method: GradientSteps | AdamSteps, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    moved = method.minimize(coupled(t), {"x": x, "y": y})
    return torch.cat([moved["x"].flatten(), moved["y"]])


def test_two_steps_by_hand():
    """E = mean of (x - 1)^2 over two values; slope (x - 1), times 2 values, times the rate 0.1."""
    leaves = {"x": torch.tensor([3.0, 0.0])}

    def energy(leaves: Leaves) -> Tensor:
        return (leaves["x"] - 1.0).square().mean()

    one = GradientSteps({"x": 0.1}, steps=1).minimize(energy, leaves)["x"]
    assert torch.allclose(one, torch.tensor([2.6, 0.2]))
    two = GradientSteps({"x": 0.1}, steps=2, momentum=0.5).minimize(energy, leaves)["x"]
    # speeds: (2, -1) then half of that plus (1.6, -0.8)
    assert torch.allclose(two.detach(), torch.tensor([2.6 - 0.2 * 2.6, 0.2 + 0.2 * 1.3]))
    assert torch.equal(leaves["x"], torch.tensor([3.0, 0.0]))


def test_adam_is_adam(generator):
    x, y, t = start(generator)
    ours = after(AdamSteps(RATES, steps=5), x, y, t)
    own = {"x": x.detach().clone().requires_grad_(), "y": y.detach().clone().requires_grad_()}
    groups = [{"params": [leaf], "lr": RATES[name]} for name, leaf in own.items()]
    adam = torch.optim.Adam(groups)
    for _ in range(5):
        adam.zero_grad()
        coupled(t.detach())(own).backward()
        adam.step()
    assert torch.allclose(ours, torch.cat([own["x"].flatten(), own["y"]]), rtol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_derivatives_in_leaves_and_parameter(method, generator):
    """Also through what the energy holds: detached, a weight would be missing from the second step on."""
    assert gradcheck(lambda *values: after(method, *values), start(generator))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_truncation(method, generator):
    values = start(generator)
    full = torch.autograd.grad(after(method, *values).sum(), values)
    enough = replace(method, truncate=method.steps)
    for one, other in zip(
        full, torch.autograd.grad(after(enough, *values).sum(), values), strict=True
    ):
        assert torch.equal(one, other)
    short = after(replace(method, truncate=1), *values)
    assert torch.allclose(short, after(method, *values), rtol=1e-12)
    in_x, in_y, in_t = torch.autograd.grad(short.sum(), values, allow_unused=True)
    assert in_x is None
    assert in_y is None
    assert in_t.abs() > 1e-3
    assert not torch.allclose(in_t, full[2])
    none = after(replace(method, truncate=0), *values)
    assert not none.requires_grad
    assert torch.allclose(none, short, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_same_without_gradients_and_nothing_in_no_steps(method, generator):
    x, y, t = start(generator)
    with torch.no_grad():
        plain = after(method, x, y, t)
    assert not plain.requires_grad
    assert torch.allclose(plain, after(method, x, y, t), rtol=1e-12)
    still = replace(method, steps=0).minimize(coupled(t), {"x": x, "y": y})
    assert still["x"] is x
    assert still["y"] is y


def test_leaves_that_want_no_gradient_still_pass_those_of_the_parameter(generator):
    x, y, t = start(generator)
    assert gradcheck(lambda t: after(METHODS[1], x.detach(), y.detach(), t), t)


def test_a_slope_of_zero_is_safe():
    """The texel that no term reads: Adam would divide zero by zero twice."""
    x = torch.zeros(2, **DOUBLE, requires_grad=True)
    moved = AdamSteps({"x": 0.1}, steps=2).minimize(lambda v: v["x"][:1].sum(), {"x": x})["x"]
    (slope,) = torch.autograd.grad(moved.sum(), x)
    assert torch.allclose(moved.detach(), torch.tensor([-0.2, 0.0], **DOUBLE))
    assert torch.equal(slope, torch.ones(2, **DOUBLE))


def test_errors_say_what_to_do(generator):
    x, y, t = start(generator)
    with pytest.raises(ValueError, match="rates: none given for y; give one per free leaf"):
        GradientSteps({"x": 1.0}).minimize(coupled(t), {"x": x, "y": y})
    with pytest.raises(ValueError, match="energy: none of its terms reads x"):
        slopes(lambda _: torch.ones(()), {"x": x}, tracked=False)
    for bad, message in (
        ({"steps": -1}, "steps: expected 0 or more"),
        ({"truncate": -1}, "truncate: expected 0 or more steps, or None"),
        ({"rates": {"x": 0.0}}, "expected a positive rate for 'x'"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(METHODS[2], **bad)
    with pytest.raises(ValueError, match="momentum: expected 0 <= momentum < 1, got 1"):
        GradientSteps(RATES, momentum=1.0)
    with pytest.raises(ValueError, match="rounding: expected a positive slope"):
        AdamSteps(RATES, rounding=0.0)
