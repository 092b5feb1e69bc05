"""Smoothness of maps: values by hand, null spaces, and the sparse forms against the residuals."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hrnfit.energy import smooth
from hrnfit.energy.term import Residuals, reduce
from tests.energy.scene import square_model, state, working_views

VIEWS = working_views(torch.zeros(1, 4, 4))
ALL = torch.ones(8, 8, dtype=torch.bool)


def ramp(size: int, a: float, b: float) -> torch.Tensor:
    """f = a u + b v per 1/64 of the chart, (S, S, 1)."""
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) * 64 / size
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    return (a * u + b * v)[..., None]


@pytest.mark.parametrize("size", [8, 64, 96])
def test_slope_is_the_same_at_any_resolution(size):
    used = torch.ones(size, size, dtype=torch.bool)
    residuals = smooth.total_variation(ramp(size, 3.0, 4.0), used, scale=1.0)
    # squared: each direction has size (size - 1) differences of 3, or of 4
    assert reduce(residuals).item() == pytest.approx((9 + 16) / 2)
    along_u = Residuals(residuals.values[0], residuals.validity[0])
    assert reduce(along_u).item() == pytest.approx(9.0)


def test_isotropic_variation_does_not_change_when_slope_turns():
    used = torch.ones(64, 64, dtype=torch.bool)
    inner = (slice(0, -1), slice(0, -1))
    steep = smooth.isotropic_variation(ramp(64, 5.0, 0.0), used, 1.0).values[inner]
    turned = smooth.isotropic_variation(ramp(64, 3.0, 4.0), used, 1.0).values[inner]
    torch.testing.assert_close(steep, turned)
    assert steep.mean().item() == pytest.approx(5.0, abs=0.011)


def test_a_batch_of_maps_has_the_energy_of_each():
    one = torch.randn(8, 8, 1, dtype=torch.float64)
    once = reduce(smooth.total_variation(one, ALL, 0.5))
    torch.testing.assert_close(
        reduce(smooth.total_variation(one.repeat(3, 1, 1, 1), ALL, 0.5)), once
    )
    assert smooth.isotropic_variation(one.repeat(3, 1, 1, 1), ALL, 0.5).values.shape == (3, 8, 8)


def test_bending_is_free_for_affine_maps_only():
    assert reduce(smooth.bending(ramp(16, 3.0, -2.0), torch.ones(16, 16).bool(), 1.0)) < 1e-20
    bowl = ramp(64, 1.0, 0.0).square()
    used = torch.ones(64, 64, dtype=torch.bool)
    values = smooth.bending(bowl, used, 1.0).values
    # u^2 has second difference 2 along u, none elsewhere
    torch.testing.assert_close(values[0, :, :-2], torch.full_like(values[0, :, :-2], 2.0))
    assert values[1:, :-2, :-2].abs().max() < 1e-9


def test_differences_across_unused_texels_do_not_count():
    used = ALL.clone()
    used[:, 4] = False
    step = torch.zeros(8, 8, 1, dtype=torch.float64)
    step[:, 4], step[:, 5:] = 99.0, 7.0
    assert reduce(smooth.total_variation(step, used, 1.0)) == 0
    assert reduce(smooth.isotropic_variation(step, used, 1.0)) == 0
    assert reduce(smooth.bending(step, used, 1.0)) == 0
    assert reduce(smooth.total_variation(step, ALL, 1.0)) > 0


@pytest.mark.parametrize("energy", ["total_variation", "isotropic_variation", "bending"])
def test_gradient(energy):
    maps = torch.randn(5, 5, 2, dtype=torch.float64, requires_grad=True)
    used = torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) > 0.1
    term = getattr(smooth, energy)
    assert torch.autograd.gradcheck(lambda m: reduce(term(m, used, 0.7)), maps)


def test_isotropic_gradient_is_finite_on_a_flat_map():
    maps = torch.zeros(8, 8, 3, requires_grad=True)
    reduce(smooth.isotropic_variation(maps, ALL, 1.0), "abs").backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize(
    ("matrix", "residuals"),
    [
        (smooth.membrane_matrix, smooth.total_variation),
        (smooth.bending_matrix, smooth.bending),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_sparse_form_is_the_reduced_energy(matrix, residuals, full, generator):
    used = ALL if full else torch.rand(8, 8, generator=generator) > 0.15
    deformation = torch.randn(8, 8, 3, dtype=torch.float64, generator=generator)
    Q = matrix(8, used)
    x = deformation.numpy().ravel()
    assert Q.shape == (192, 192)
    assert x @ Q @ x == pytest.approx(reduce(residuals(deformation, used, 1.0)).item(), rel=1e-12)
    assert abs(Q - Q.T).max() < 1e-12


def test_sparse_operators_have_the_right_null_space():
    constant, plane = torch.ones(36).double().numpy(), ramp(6, 2.0, 5.0).numpy().ravel()
    assert abs(smooth.membrane_operator(6) @ constant).max() < 1e-12
    assert abs(smooth.membrane_operator(6) @ plane).max() == pytest.approx(5.0)
    assert abs(smooth.bending_operator(6) @ plane).max() < 1e-12


def test_look_up_reads_four_texels():
    # (0.5, 0.5) lies at the corner of the four middle texels of 4 x 4; a centre reads one
    used = smooth.used_texels(torch.tensor([[0.5, 0.5]]), 4, 4)
    assert used.nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert smooth.used_texels(torch.tensor([[0.125, 0.375]]), 4, 4).nonzero().tolist() == [[1, 0]]


@pytest.mark.parametrize("size", [8, 64])
def test_chart_texels_cover_a_large_triangle_without_holes(size):
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    used = smooth.chart_texels(uv, torch.tensor([[0, 1, 2]], dtype=torch.int32), size, size)
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    assert used[row + column < size].all()
    assert not used[row + column > size + 2].any()


def test_terms_read_their_leaf_and_use_the_chart():
    maps = {
        "deformation": torch.full((8, 8, 3), 10.0, dtype=torch.float64),
        "displacement": torch.full((1, 8, 8), 0.25, dtype=torch.float64),
    }
    seen = SimpleNamespace(state=state(**maps), model=square_model())
    assert reduce(smooth.DeformationVariation().residuals(seen, VIEWS)) == 0
    assert reduce(smooth.DeformationBending().residuals(seen, VIEWS)) == 0
    assert reduce(smooth.DeformationSize(scale=5.0).residuals(seen, VIEWS)).item() == 4.0
    assert reduce(smooth.DisplacementSize(scale=0.5).residuals(seen, VIEWS)).item() == 0.25
    assert reduce(smooth.DisplacementVariation().residuals(seen, VIEWS)) == 0
    half = square_model()
    half.uv = half.uv * 0.5  # chart in one corner: steps outside it are free
    maps["deformation"] = torch.zeros(8, 8, 3, dtype=torch.float64)
    maps["deformation"][6:] = 3.0
    seen = SimpleNamespace(state=state(**maps), model=half)
    assert reduce(smooth.DeformationVariation().residuals(seen, VIEWS)) == 0


def test_charts_that_share_coordinates_have_used_texels_of_their_own():
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    whole = torch.tensor([[0, 2, 1], [1, 2, 3]], dtype=torch.int32)
    counts = [
        int(
            smooth.used_by_model(
                SimpleNamespace(model=SimpleNamespace(uv=uv, uv_faces=f)), 16, 16
            ).sum()
        )
        for f in (whole, whole[:1])
    ]
    assert counts[0] == 256
    assert counts[1] < 256
