"""The fill of maps: harmonic between what is known, from coarse to fine."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry.map_fill import fill

F64 = torch.float64


def test_fill_between_two_columns_is_linear():
    values, known = torch.zeros(16, 33, dtype=F64), torch.zeros(16, 33, dtype=torch.bool)
    values[:, -1], known[:, 0], known[:, -1] = 1.0, True, True
    filled = fill(values, known, torch.ones_like(known))
    expected = torch.linspace(0, 1, 33, dtype=F64).expand(16, -1)
    torch.testing.assert_close(filled, expected, atol=5e-3, rtol=0)


def test_fill_is_bounded_by_what_is_known(generator):
    values = torch.rand(20, 20, dtype=F64, generator=generator)
    known = torch.rand(20, 20, generator=generator) > 0.7
    filled = fill(values, known, torch.ones_like(known), sweeps=400)
    assert torch.equal(filled[known], values[known])
    assert filled.min() >= values[known].min() - 1e-6
    assert filled.max() <= values[known].max() + 1e-6


def test_fill_does_not_cross_the_chart_border_or_an_edge_of_the_guide():
    values, known = torch.zeros(9, 21, dtype=F64), torch.zeros(9, 21, dtype=torch.bool)
    values[:, -1], known[:, 0], known[:, -1] = 1.0, True, True
    used = torch.ones_like(known)
    used[:, 10] = False  # a gap
    filled = fill(values, known, used, sweeps=400)
    assert filled[:, :10].max() < 1e-3
    assert filled[:, 11:].min() > 1 - 1e-3
    guide = torch.zeros(9, 21, 1, dtype=F64)
    guide[:, 10:] = 5.0  # a step of five scales
    filled = fill(values, known, torch.ones_like(known), guide, 1.0, sweeps=800)
    assert filled[:, :10].max() < 0.05
    assert filled[:, 10:].min() > 0.95


def test_nothing_known_fills_with_zero():
    nothing = torch.zeros(7, 5, dtype=torch.bool)
    assert not fill(torch.ones(7, 5), nothing, torch.ones_like(nothing)).any()


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (1, 9), (1, 1), (2, 3)])
def test_fill_keeps_a_constant_on_any_shape(shape):
    known = torch.zeros(shape, dtype=torch.bool)
    known[0, 0] = known[-1, -1] = True
    filled = fill(torch.full(shape, 0.3), known, torch.ones_like(known))
    torch.testing.assert_close(filled, torch.full(shape, 0.3))


def test_a_large_hole_is_harmonic():
    axis = torch.linspace(-1, 1, 128, dtype=F64)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    harmonic = u**3 - 3 * u * v**2  # real part of z^3
    known = torch.ones(128, 128, dtype=torch.bool)
    known[14:114, 14:114] = False
    filled = fill(torch.where(known, harmonic, 99.0), known, torch.ones_like(known))
    assert (filled - harmonic).abs().max() < 0.02 * harmonic.std()


def test_a_texel_without_neighbours_stays_finite():
    used = torch.zeros(5, 5, dtype=torch.bool)
    used[2, 2] = used[0, 0] = True
    known = torch.zeros_like(used)
    known[0, 0] = True
    filled = fill(torch.full((5, 5), 2.0), known, used)
    assert filled.isfinite().all()
    assert filled[0, 0] == 2.0


def test_gradient(generator):
    values = torch.randn(3, 3, dtype=F64, generator=generator, requires_grad=True)
    known = torch.ones(3, 3, dtype=torch.bool)
    known[1, 1] = False
    assert torch.autograd.gradcheck(
        lambda m: fill(m, known, torch.ones_like(known), sweeps=3), values
    )
