"""Strain and folds of triangles against their coarse mesh."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from hrnfit.energy.rigidity import (
    FoldBarrier,
    Rigidity,
    fold_barrier,
    oriented_area_ratio,
    strain,
)
from hrnfit.energy.term import reduce
from hrnfit.geometry.rotation import rotation_exp
from tests.energy.scene import sphere, state, working_views

VIEWS = working_views(torch.zeros(1, 4, 4))
VERTICES, FACES = sphere(6, 8)
TURN = rotation_exp(torch.tensor([0.4, -1.1, 0.7], dtype=torch.float64))


def test_rigid_motion_has_no_strain():
    moved = VERTICES @ TURN.T + torch.tensor([5.0, -3.0, 100.0])
    assert strain(moved, VERTICES, FACES).abs().max() < 1e-12


def test_uniform_growth_by_a_tenth():
    values = strain(VERTICES * 1.1, VERTICES, FACES)
    expected = torch.tensor([0.105, 0.105, 0.0], dtype=torch.float64).expand_as(values)
    torch.testing.assert_close(values, expected)


def test_simple_shear_by_hand():
    rest = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    sheared = rest + torch.tensor([[0.0, 0, 0], [0, 0, 0], [0.5, 0, 0]])
    # F = [[1, 0.5], [0, 1]]: F^T F = [[1, 0.5], [0.5, 1.25]], E = [[0, 0.25], [0.25, 0.125]]
    values = strain(sheared, rest, torch.tensor([[0, 1, 2]], dtype=torch.int32))
    expected = torch.tensor([[0.0, 0.125, 0.25 * math.sqrt(2)]], dtype=torch.float64)
    torch.testing.assert_close(values, expected)


def test_energy_is_the_same_from_any_corner_and_in_any_frame(generator):
    moved = VERTICES + 0.1 * torch.randn(VERTICES.shape, generator=generator, dtype=torch.float64)
    energy = strain(moved, VERTICES, FACES).square().sum(-1)
    torch.testing.assert_close(strain(moved, VERTICES, FACES.roll(1, 1)).square().sum(-1), energy)
    turned = strain(moved @ TURN.T, VERTICES @ TURN.T, FACES).square().sum(-1)
    torch.testing.assert_close(turned, energy)


def test_batches_and_triangles_without_area(generator):
    moved = torch.randn(2, *VERTICES.shape, generator=generator, dtype=torch.float64)
    rest = VERTICES.expand(2, -1, -1)
    assert strain(moved, rest, FACES).shape == (2, len(FACES), 3)
    point = torch.tensor([[0, 0, 1]], dtype=torch.int32)
    rest = rest.clone().requires_grad_()
    values = strain(moved, rest, point)
    assert not values.any()
    values.sum().backward()
    assert rest.grad is not None
    assert rest.grad.isfinite().all()
    assert (oriented_area_ratio(moved, rest, point) == 1).all()


def test_oriented_area_ratio_tells_shrunk_collapsed_and_turned_over():
    rest = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    face = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    for height, ratio in [(1.0, 1.0), (0.5, 0.5), (0.0, 0.0), (-1.0, -1.0)]:
        moved = rest.clone()
        moved[2, 1] = height
        assert oriented_area_ratio(moved, rest, face).item() == pytest.approx(ratio)
    turned = oriented_area_ratio(VERTICES @ TURN.T, VERTICES @ TURN.T, FACES)
    torch.testing.assert_close(turned, torch.ones(len(FACES), dtype=torch.float64))


def test_barrier_is_zero_until_near_collapse():
    values = fold_barrier(torch.tensor([1.0, 0.31, 0.15, 0.0, -0.3]), allowed=0.3)
    torch.testing.assert_close(values, torch.tensor([0.0, 0.0, 0.5, 1.0, 2.0]))


@pytest.mark.parametrize("law", [strain, oriented_area_ratio])
def test_gradient(law, generator):
    rest = VERTICES[:10]
    faces = FACES[(FACES < 10).all(1)]
    moved = (
        rest + 0.2 * torch.randn(10, 3, generator=generator, dtype=torch.float64)
    ).requires_grad_()
    assert len(faces) > 0
    assert torch.autograd.gradcheck(
        lambda m, r: law(m, r, faces), (moved, rest.clone().requires_grad_())
    )


def seen(offset: torch.Tensor) -> SimpleNamespace:
    """A model whose first identity coefficient scales the sphere, deformed by an offset."""
    leaf = state(identity=torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64, requires_grad=True))
    coarse = VERTICES[None] * (1 + leaf.identity[0])
    model = SimpleNamespace(faces=FACES)
    return SimpleNamespace(
        state=leaf, model=model, coarse_head=coarse, vertices_head=coarse + offset
    )


def test_coefficients_move_freely_and_offsets_do_not():
    free = seen(torch.zeros_like(VERTICES))
    energy = reduce(Rigidity().residuals(free, VIEWS)) + reduce(
        FoldBarrier().residuals(free, VIEWS)
    )
    energy.backward()
    assert energy.item() < 1e-20
    assert free.state.identity.grad.abs().max() < 1e-12
    assert reduce(Rigidity().residuals(seen(0.3 * VERTICES), VIEWS)) > 0.5


def test_descent_on_the_barrier_unfolds_a_triangle():
    offset = torch.zeros_like(VERTICES)
    offset[10] = -2.0 * VERTICES[10] + VERTICES[40]  # pushed through its neighbours
    offset.requires_grad_()

    def turned_over():
        return int((oriented_area_ratio(seen(offset).vertices_head[0], VERTICES, FACES) <= 0).sum())

    assert turned_over() > 0
    for _ in range(150):
        energy = reduce(FoldBarrier().residuals(seen(offset), VIEWS))
        (slope,) = torch.autograd.grad(energy, offset)
        offset = (
            (offset - 0.02 * slope / slope.abs().max().clamp_min(1e-9)).detach().requires_grad_()
        )
    assert turned_over() == 0
