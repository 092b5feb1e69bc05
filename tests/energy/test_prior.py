"""Priors: what is free, what costs 1, and no gradient surprises."""

from __future__ import annotations

from dataclasses import is_dataclass
from types import SimpleNamespace

import pytest
import torch

from hrnfit.energy import prior
from hrnfit.energy.term import reduce
from tests.energy.scene import square_model, state, working_views

VIEWS = working_views(torch.zeros(1, 4, 4))
F64 = torch.float64


def energy(term, kernel: str = "square", blendshape: bool = True, **leaves: torch.Tensor) -> float:
    model = square_model()
    model.expression_is_blendshape = blendshape
    seen = SimpleNamespace(state=state(**leaves), model=model)
    return reduce(term.residuals(seen, VIEWS), kernel).item()


def light(*rows: tuple[float, float, float]) -> torch.Tensor:
    """One light: the first orders given, the rest 0."""
    out = torch.zeros(1, 9, 3, dtype=F64)
    for i, row in enumerate(rows):
        out[0, i] = torch.tensor(row)
    return out


def test_bound_violation_is_one_sided_and_signed():
    values = prior.bound_violation(torch.tensor([-0.2, 0.0, 0.5, 1.0, 1.3]), 0.0, 1.0, 0.1)
    torch.testing.assert_close(values, torch.tensor([-2.0, 0.0, 0.0, 0.0, 3.0]))
    x = torch.tensor([-0.2, 0.4, 1.3], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: prior.bound_violation(x, 0.0, 1.0, 0.1), x)


def test_one_deviation_everywhere_costs_one():
    one = torch.ones(3, dtype=F64)
    assert energy(prior.IdentityPrior(), identity=one) == pytest.approx(1.0)
    assert energy(prior.AlbedoPrior(), albedo=one[:2]) == pytest.approx(1.0)
    assert energy(prior.FocalPrior(0.3), log_focal=0.3 * one[:1]) == pytest.approx(1.0)
    camera = torch.tensor([[0.002] * 3 + [2.0] * 3], dtype=F64)
    assert energy(prior.CameraPrior(), camera=camera) == pytest.approx(1.0)
    size = torch.full((8, 8, 3), -0.1, dtype=F64)
    assert energy(prior.AlbedoMapSize(0.1), albedo_map=size) == pytest.approx(1.0)


def test_expression_is_measured_in_the_models_own_unit():
    half = torch.full((1, 2), 0.6, dtype=F64)
    assert energy(prior.ExpressionPrior(0.3), expression=half) == pytest.approx(4.0)
    assert energy(prior.ExpressionPrior(0.3), blendshape=False, expression=half) == pytest.approx(
        0.36
    )


def test_expression_bounds():
    inside = torch.tensor([[0.0, 1.0]], dtype=F64)
    outside = torch.tensor([[-0.1, 1.1]], dtype=F64)
    assert energy(prior.ExpressionBounds(), expression=inside) == 0.0
    assert energy(prior.ExpressionBounds(), expression=outside) == pytest.approx(1.0)
    assert energy(prior.ExpressionBounds(), blendshape=False, expression=outside) == 0.0
    far = torch.tensor([[-4.0, 4.0]], dtype=F64)
    assert energy(prior.ExpressionBounds(), blendshape=False, expression=far) == pytest.approx(1.0)


def test_more_frames_of_the_same_expression_have_the_same_energy():
    one = torch.tensor([[0.2, 0.7]], dtype=F64)
    frames = {
        "expression": one.repeat(4, 1),
        "pose": torch.zeros(4, 6, dtype=F64),
        "pose_reference": torch.eye(4, dtype=F64).repeat(4, 1, 1),
    }
    once = energy(prior.ExpressionPrior(), expression=one)
    assert energy(prior.ExpressionPrior(), **frames) == pytest.approx(once)


def test_grey_light_is_free_and_exposure_does_not_matter():
    grey = light((1.0, 1.0, 1.0), (0.3, 0.3, 0.3))
    warm = light((1.1, 1.0, 0.9), (0.3, 0.3, 0.3))
    assert energy(prior.LightColour(), light=grey) == pytest.approx(0.0, abs=1e-12)
    # two of 27 coefficients deviate by 0.1 of the ambient level
    assert energy(prior.LightColour(0.1), light=warm) == pytest.approx(2 / 27)
    assert energy(prior.LightColour(), light=5 * warm) == pytest.approx(
        energy(prior.LightColour(), light=warm)
    )


def test_dark_light_stays_finite():
    dark = torch.zeros(1, 9, 3, dtype=F64, requires_grad=True)
    prior.colour_deviation(dark).square().sum().backward()
    assert dark.grad is not None
    assert dark.grad.isfinite().all()


def test_only_the_second_order_is_soft():
    first = light((1.0,) * 3, *[(2.0,) * 3] * 3)
    assert energy(prior.LightSoftness(), light=first) == 0.0
    second = first.clone()
    second[0, 4:] = 0.3
    assert energy(prior.LightSoftness(0.3), light=second) == pytest.approx(1.0)


def test_directions_are_even_over_the_sphere():
    directions = prior.sphere_directions(256)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(256, dtype=F64))
    assert directions.mean(0).abs().max() < 0.01
    second_moment = directions.T @ directions / 256
    torch.testing.assert_close(second_moment, torch.eye(3, dtype=F64) / 3, atol=0.01, rtol=0)


def test_negative_irradiance_by_hand():
    # basis (1, z): ambient 1, z coefficient 2: irradiance 1 + 2 z is -1 straight below, 3 above
    basis = torch.zeros(2, 9, dtype=F64)
    basis[:, 0] = 1.0
    basis[:, 2] = torch.tensor([1.0, -1.0])
    lit = light((1.0,) * 3, (0.0,) * 3, (2.0,) * 3)
    values = prior.negative_irradiance(lit, basis)
    torch.testing.assert_close(values[0], torch.tensor([[0.0] * 3, [1.0] * 3], dtype=F64))


def test_light_positivity_knows_the_renderers_basis():
    ambient = light((1.0,) * 3)
    assert energy(prior.LightPositivity(), light=ambient) == 0.0
    harsh = light((1.0,) * 3, (3.0,) * 3)
    assert energy(prior.LightPositivity(), light=harsh) > 1.0


def test_chroma_of_grey_is_zero_and_of_red_is_not():
    rgb = torch.tensor([[0.3, 0.3, 0.3], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    expected = torch.tensor([[0.0, 0.0], [1.0, -0.5], [0.0, 1.0]])
    torch.testing.assert_close(prior.chroma(rgb), expected)


def test_albedo_map_brightness_edges_are_free_of_chroma_energy():
    edge = torch.zeros(8, 8, 3, dtype=F64)
    edge[:, 4:] = 0.2
    red = edge * torch.tensor([1.0, 0.0, 0.0])
    assert energy(prior.AlbedoMapChroma(), albedo_map=edge) == pytest.approx(0.0, abs=1e-12)
    assert energy(prior.AlbedoMapChroma(), albedo_map=red) > 1e-3
    assert energy(prior.AlbedoMapVariation(), albedo_map=edge) > 1e-3
    assert energy(prior.AlbedoMapVariation(), albedo_map=edge + 1.0) == pytest.approx(
        energy(prior.AlbedoMapVariation(), albedo_map=edge)
    )


def test_names_are_unique():
    terms = [t for t in vars(prior).values() if is_dataclass(t) and hasattr(t, "residuals")]
    names = [t().name for t in terms]
    assert len(names) >= 11
    assert len(set(names)) == len(names)


def test_every_residual_of_a_prior_counts():
    """Whatever its values are: validity 1, of their shape, and the energy their mean square."""
    unit = torch.tensor([1.0, 0.0, 2.0], dtype=F64)

    class Twice(prior.Prior):
        name = "twice"

        def values(self, prediction) -> torch.Tensor:
            return 2.0 * prediction.state.identity

    seen = SimpleNamespace(state=state(identity=unit), model=square_model())
    residuals = Twice().residuals(seen, VIEWS)
    assert torch.equal(residuals.values, 2.0 * unit)
    assert torch.equal(residuals.validity, torch.ones(3, dtype=F64))
    assert reduce(residuals).item() == pytest.approx(20.0 / 3.0)
