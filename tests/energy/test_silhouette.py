"""Coverage against mask: overlap by hand, and only true contours count."""

from __future__ import annotations

import pytest
import torch

from hrnfit.energy.silhouette import Silhouette, boundary_band, near, soft_iou
from hrnfit.energy.term import reduce
from tests.energy.scene import (
    ball,
    disc_mask,
    outline_radius,
    prediction,
    project,
    sphere,
    working_views,
)

SIZE = 200
VERTICES, FACES = sphere()


def seen(radius: float):
    """A sphere with the antialiased coverage of its disc."""
    disc = disc_mask(SIZE, outline_radius(radius))
    scene = prediction(project(ball(radius), SIZE)[None], FACES, SIZE, disc > 0.5)
    scene.coverage = disc
    return scene


def test_soft_iou_by_hand():
    coverage = torch.tensor([[[1.0, 1.0], [0.5, 0.0]]])
    masks = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    everywhere = torch.ones(1, 2, 2).bool()
    assert soft_iou(coverage, masks, everywhere).item() == pytest.approx(1.5 / 3.0)
    where = torch.tensor([[[True, False], [True, True]]])
    assert soft_iou(coverage, masks, where).item() == pytest.approx(1.5 / 2.0)
    assert soft_iou(0 * coverage, 0 * masks, everywhere).item() == 1.0


def test_soft_iou_gradient_and_symmetry(generator):
    a, b = torch.rand(2, 2, 3, 3, dtype=torch.float64, generator=generator).unbind(0)
    everywhere = torch.ones(2, 3, 3).bool()
    torch.testing.assert_close(soft_iou(a, b, everywhere), soft_iou(b, a, everywhere))
    assert torch.autograd.gradcheck(lambda a: soft_iou(a, b, everywhere), a.requires_grad_())


def test_near_marks_a_square_around_chosen_points_inside_the_window():
    xy = torch.tensor([[[2.5, 3.5], [6.5, 6.5], [-4.0, 2.0]]])
    marked = near(xy, torch.tensor([[True, False, True]]), 8, 1)[0]
    assert marked.nonzero().amin(0).tolist() == [2, 1]
    assert marked.nonzero().amax(0).tolist() == [4, 3]
    assert marked.sum() == 9


def test_zero_at_the_truth():
    scene = seen(60.0)
    assert reduce(Silhouette().residuals(scene, working_views(scene.coverage)), "abs") == 0


@pytest.mark.parametrize("off", [-2.0, 2.0, 4.0])
def test_an_outline_off_by_two_mm_costs_one(off):
    scene = seen(60.0)
    views = working_views(disc_mask(SIZE, outline_radius(60.0) + off))
    energy = reduce(Silhouette(band=0.05).residuals(scene, views), "abs").item()
    # the band of squares is up to a half wider on the diagonals, and the energy that much smaller
    assert 0.6 * abs(off) / 2 < energy < 1.1 * abs(off) / 2


def test_only_the_band_counts_and_open_edges_cut_it():
    scene = seen(60.0)
    band = boundary_band(scene, SIZE, 6)
    assert not band[0, SIZE // 2, SIZE // 2]
    assert band[0, SIZE // 2, SIZE // 2 + 60]
    # cut the lower part off: the mesh now ends there, and nothing is known around the cut
    keep = VERTICES[FACES.long()].mean(1)[:, 1] < 0.3
    scene.model.faces = FACES[keep].contiguous()
    band = boundary_band(scene, SIZE, 6)[0]
    assert band[:90].any()
    assert not band[int(SIZE / 2 + 0.35 * 60) :].any()


def test_gradient_reaches_the_coverage_in_the_band_only():
    scene = seen(60.0)
    scene.coverage = scene.coverage.clone().requires_grad_()
    views = working_views(disc_mask(SIZE, 64.0))
    reduce(Silhouette().residuals(scene, views)).backward()
    moved = scene.coverage.grad != 0
    assert moved.any()
    assert (moved & ~boundary_band(scene, SIZE, 6)).sum() == 0
    assert (scene.coverage.grad <= 0).all()  # a larger mask asks for more coverage


def test_the_same_view_twice_has_the_same_energy():
    one, mask = seen(60.0), disc_mask(SIZE, 63.0)
    two = seen(60.0)
    two.points = one.points.repeat(2, 1, 1)
    two.coverage = one.coverage.repeat(2, 1, 1)
    two.raster.triangle = one.raster.triangle.repeat(2, 1, 1)
    once = reduce(Silhouette().residuals(one, working_views(mask)))
    twice = reduce(Silhouette().residuals(two, working_views(mask.repeat(2, 1, 1))))
    torch.testing.assert_close(once, twice)


def test_a_view_without_a_mask_says_nothing():
    whole = torch.ones(1, SIZE, SIZE, dtype=torch.float64)
    assert not Silhouette().residuals(seen(60.0), working_views(whole)).validity.any()
