"""Reduction, weights and names: the laws every term relies on."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from hrnfit.energy.term import Residuals, Weight, as_weight, reduce, total
from tests.energy.scene import working_views

VIEWS = working_views(torch.zeros(1, 4, 4))


@dataclass(frozen=True)
class Distance:
    """Residual x / scale."""

    name: str
    scale: float = 1.0

    def residuals(self, prediction, views):
        return Residuals(prediction.x / self.scale, torch.ones_like(prediction.x))


def test_reduce_is_the_validity_weighted_mean_of_squares():
    # (1 * 1 + 0.5 * 4) / 1.5 = 2
    value = reduce(Residuals(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([1.0, 0.5, 0.0])))
    assert value.item() == pytest.approx(2.0)


def test_the_same_residuals_twice_have_the_same_energy():
    r, v = torch.randn(5, 3), torch.rand(5, 3)
    once = reduce(Residuals(r, v), "huber")
    torch.testing.assert_close(reduce(Residuals(r.repeat(2, 1), v.repeat(2, 1)), "huber"), once)


def test_invalid_nan_enters_neither_value_nor_gradient():
    x = torch.tensor([2.0, 0.0], requires_grad=True)
    values = torch.stack((x[0], x[1] / x[1]))
    energy = reduce(Residuals(values, torch.tensor([1.0, 0.0])))
    assert energy.item() == 4.0
    energy.backward()
    assert x.grad is not None
    assert x.grad[0].item() == 4.0


def test_nothing_valid_is_zero_with_a_zero_gradient():
    x = torch.ones(3, requires_grad=True)
    reduce(Residuals(x, torch.zeros(3))).backward()
    assert x.grad is not None
    assert not x.grad.any()


def test_reduce_gradient():
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    v = torch.rand(4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: reduce(Residuals(x, v), "geman_mcclure"), x)


def test_reduce_names_the_kernels_it_knows():
    with pytest.raises(ValueError, match="'cubic' is unknown; one of square"):
        reduce(Residuals(torch.zeros(1), torch.zeros(1)), "cubic")


def test_weight_between_positive_ends_is_geometric():
    weight = Weight(1.0, 100.0)
    assert [weight.at(p) for p in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([1, 10, 100, 100])


def test_weight_to_zero_is_linear_and_silent_at_the_end():
    weight = Weight(4.0, 0.0)
    assert weight.at(0.25) == 3.0
    assert weight.is_silent(1.0)
    assert not weight.is_silent(0.9)


def test_plain_number_is_a_constant_weight():
    assert as_weight(2.0).at(0.7) == 2.0
    assert as_weight(Weight(3.0)) == Weight(3.0)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_weight_rejects_what_is_no_weight(bad):
    with pytest.raises(ValueError, match="finite number >= 0"):
        Weight(bad)


def test_total_weights_and_names_each_term_once():
    seen = SimpleNamespace(x=torch.tensor([3.0, 1.0], requires_grad=True))
    terms = (Distance("near"), Distance("far", 2.0))
    energy, energies = total(
        terms, {"near": 2.0, "far": Weight(1.0, 4.0)}, {"far": "huber"}, seen, VIEWS, 0.5
    )
    # near: (9 + 1) / 2 = 5; far: huber(1.5) = 2, huber(0.5) = 0.25, mean 1.125, weight 2
    assert {k: v.item() for k, v in energies.items()} == pytest.approx({"near": 5, "far": 1.125})
    assert energy.item() == pytest.approx(2 * 5 + 2 * 1.125)
    assert energy.requires_grad
    assert not energies["near"].requires_grad


def test_total_does_not_evaluate_a_silent_term():
    class Broken(Distance):
        def residuals(self, prediction, views):
            raise AssertionError

    terms = (Distance("near"), Broken("far"))
    _, energies = total(
        terms,
        {"near": 1.0, "far": Weight(1.0, 0.0)},
        {},
        SimpleNamespace(x=torch.ones(1)),
        VIEWS,
        1.0,
    )
    assert list(energies) == ["near"]


@pytest.mark.parametrize(
    ("terms", "weights", "kernels", "message"),
    [
        ((Distance("a"), Distance("a")), {"a": 1.0}, {}, "a named twice"),
        ((Distance("contour"),), {"contuor": 1.0}, {}, "nearest is 'contour'"),
        ((Distance("contour"),), {"contour": 1.0}, {"contur": "abs"}, "kernel of 'contur'"),
        ((Distance("contour"),), {}, {}, "'contour' has no weight"),
        ((Distance("contour"),), {"contour": 0.0}, {}, "no term with a weight above zero"),
    ],
)
def test_total_says_what_does_not_fit_together(terms, weights, kernels, message):
    with pytest.raises(ValueError, match=message):
        total(terms, weights, kernels, SimpleNamespace(x=torch.ones(1)), VIEWS)
