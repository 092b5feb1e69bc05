"""Contour loss in both forms: by hand, against the printed formula, and at the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.energy.contour import (
    NearestContour,
    RowContour,
    edge_distance,
    mask_edges,
    mm_per_pixel,
    row_contour,
    row_edges,
)
from hrnfit.energy.term import reduce
from tests.energy.scene import (
    ball,
    disc_mask,
    outline_radius,
    prediction,
    project,
    sphere,
    state,
    working_views,
)

SIZE = 200
FACES = sphere()[1]
EVERYWHERE = torch.ones(1, SIZE, SIZE, dtype=torch.bool)


def seen(radius: float, centre: tuple[float, float] = (0.0, 0.0)):
    """A sphere and its own coverage."""
    vertices = ball(radius, centre)
    covered = disc_mask(SIZE, outline_radius(radius), centre) > 0.5
    return prediction(project(vertices, SIZE)[None], FACES, SIZE, covered)


def printed_formula(x, left, right, margin):
    """HRN eq. 2 literally."""
    to_left, to_right = left - x, right - x
    quotient = to_left * to_right / torch.maximum(to_left.abs(), to_right.abs())
    return (torch.relu(quotient + margin) - margin).abs()


def test_row_contour_is_the_printed_formula():
    x = torch.linspace(-0.5, 1.5, 201, dtype=torch.float64) + 1e-4
    left, right = torch.full_like(x, 0.2), torch.full_like(x, 0.7)
    torch.testing.assert_close(row_contour(x, left, right), printed_formula(x, left, right, 0.01))


def test_row_contour_by_hand():
    # outside left by 0.1, on the edge, 0.004 inside the right edge, deep inside
    x = torch.tensor([0.1, 0.2, 0.696, 0.5])
    f = row_contour(x, torch.full((4,), 0.2), torch.full((4,), 0.7))
    torch.testing.assert_close(f, torch.tensor([0.1, 0.0, 0.004, 0.01]))


def test_row_contour_gradient_points_at_the_edge_and_vanishes_inside():
    x = torch.tensor([0.1, 0.9, 0.5], dtype=torch.float64, requires_grad=True)
    edges = torch.tensor(0.2).double().expand(3), torch.tensor(0.7).double().expand(3)
    (slope,) = torch.autograd.grad(row_contour(x, *edges).sum(), x)
    assert slope.tolist() == [-1.0, 1.0, 0.0]
    assert torch.autograd.gradcheck(lambda x: row_contour(x, *edges), x)


def test_a_missing_edge_leaves_the_other():
    x = torch.tensor([0.5, 0.9], requires_grad=True)
    f = row_contour(x, torch.full((2,), -torch.inf), torch.full((2,), 0.7))
    torch.testing.assert_close(f, torch.tensor([0.01, 0.2]))
    assert torch.autograd.grad(f.sum(), x)[0].tolist() == [0.0, 1.0]


def test_row_edges_at_sub_pixel_crossings():
    # centres at 2.5 .. 5.5; between 0.25 at 1.5 and 1 at 2.5 the mask crosses 0.5 at 1.5 + 1/3
    row = torch.tensor([0.0, 0.25, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    edges = row_edges(row.expand(1, 8, 8), torch.ones(1, 8, 8).bool())
    torch.testing.assert_close(edges[0, 3], torch.tensor([1.5 + 1 / 3, 6.0]))


def test_rows_without_mask_and_sides_at_the_border_have_no_edge():
    mask = torch.zeros(1, 4, 8)
    mask[0, 1, :5] = 1.0  # runs into the window's left side
    mask[0, 2, 2:5] = 1.0  # begins where the photograph begins
    mask = torch.nn.functional.pad(mask, (0, 0, 0, 4))
    inside = torch.ones(1, 8, 8).bool()
    inside[..., :2] = False
    left, right = row_edges(mask, inside)[0].unbind(-1)
    assert left.tolist() == [-torch.inf] * 8
    assert right[1:3].tolist() == [5.0, 5.0]
    assert right[0] == torch.inf


def test_nearest_edge_of_a_disc_is_its_circle():
    edges = mask_edges(disc_mask(SIZE, 60.0), EVERYWHERE)
    angle = torch.linspace(0, 6.2, 60, dtype=torch.float64)
    for radius in (50.0, 60.0, 75.0):
        xy = radius * torch.stack((angle.cos(), angle.sin()), -1) + SIZE / 2
        distance, normal, valid = edge_distance(xy[None], edges)
        assert valid.all()
        assert (distance - (radius - 60.0)).abs().max() < 0.35
        assert ((xy - SIZE / 2) * normal[0]).sum(-1).min() > 0.97 * radius


def test_edges_made_by_the_photograph_do_not_count():
    mask = disc_mask(SIZE, 60.0)
    inside = EVERYWHERE.clone()
    inside[:, 130:] = False
    mask[:, 130:] = 0.0
    edges = mask_edges(mask, inside)
    xy = torch.tensor([[[100.0, 128.0], [100.0, 42.0], [100.0, 199.0], [100.0, 300.0]]])
    valid = edge_distance(xy.double(), edges)[2]
    assert valid.tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_or_full_mask_has_no_edge(value):
    masks = torch.full((1, SIZE, SIZE), value, dtype=torch.float64)
    assert not mask_edges(masks, EVERYWHERE).valid.any()
    values = NearestContour().residuals(seen(60.0), working_views(masks))
    assert reduce(values) == 0
    assert reduce(RowContour().residuals(seen(60.0), working_views(masks))) == 0


@pytest.mark.parametrize("ends", [130, 70])
def test_a_face_cut_by_the_photograph_says_nothing_beyond_it(ends):
    """The sphere at its truth, the photograph ending within it; its border is no edge of the face."""
    inside = EVERYWHERE.clone()
    inside[:, :, ends:] = False
    mask = disc_mask(SIZE, outline_radius(60.0)) * inside
    cut, unaware = working_views(mask, inside=inside), working_views(mask.clone())
    whole = working_views(disc_mask(SIZE, outline_radius(60.0)))
    scene = seen(60.0)
    beyond = scene.points[..., 0] >= ends
    for term in (NearestContour(), RowContour(delta=0.0)):
        found = term.residuals(scene, cut)
        assert reduce(found, "abs") < 1.1 * reduce(term.residuals(scene, whole), "abs")
        assert found.validity.sum() > 0
        assert reduce(term.residuals(scene, unaware), "abs") > 5 * reduce(found, "abs")
    assert float(NearestContour().residuals(scene, cut).validity[beyond].sum()) == 0.0


def test_a_pixel_is_one_mm_at_the_sphere_and_follows_the_lens():
    views = working_views(disc_mask(SIZE, 60.0))
    scene = seen(60.0)
    assert mm_per_pixel(scene, views).item() == pytest.approx(1.0, abs=1e-3)
    scene.state = state(log_focal=torch.tensor([2.0]).double().log())
    assert mm_per_pixel(scene, views).item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (25.0, -15.0)])
def test_nearest_form_is_near_zero_at_the_truth(centre):
    radius = outline_radius(60.0)
    # the polygon of 4 mm edges sags by 0.3 mm, and its vertices lie up to 1.5 mm inside the circle
    views = working_views(disc_mask(SIZE, radius, centre))
    energy = reduce(NearestContour().residuals(seen(60.0, centre), views), "abs").item()
    larger = working_views(disc_mask(SIZE, radius + 6.0, centre))
    wrong = reduce(NearestContour().residuals(seen(60.0, centre), larger), "abs").item()
    assert energy < 0.3
    assert wrong == pytest.approx(3.0, abs=0.5)  # 6 mm, in units of 2 mm


def test_nearest_form_pulls_the_sphere_to_the_mask():
    views = working_views(disc_mask(SIZE, outline_radius(60.0), (5.0, 0.0)))
    shift = torch.zeros(2, dtype=torch.float64)
    for _ in range(40):
        scene = seen(60.0)
        move = shift.clone().requires_grad_()
        scene.points = scene.points + torch.cat((move, move.new_zeros(1)))
        scene.raster.triangle = torch.where(
            disc_mask(SIZE, outline_radius(60.0), tuple(shift.tolist())) > 0.5, 0, -1
        )
        energy = reduce(NearestContour().residuals(scene, views))
        shift = shift - 1.0 * torch.autograd.grad(energy, move)[0]
    assert shift.tolist() == pytest.approx([5.0, 0.0], abs=0.3)


def test_vertices_outside_are_pulled_in_unless_told_otherwise():
    views = working_views(disc_mask(SIZE, 40.0))
    scene = seen(45.0)
    off_contour = NearestContour(agreement=2.0)  # nothing agrees: only strayed vertices remain
    assert reduce(off_contour.residuals(scene, views), "abs") > 0.5
    assert not replace(off_contour, pull_in=0.0).residuals(scene, views).validity.any()
    inner = off_contour.residuals(seen(38.0), views)
    assert not inner.validity.any()


def test_what_is_out_of_reach_or_self_occluded_says_nothing():
    views = working_views(disc_mask(SIZE, 90.0))
    assert not NearestContour(reach=10.0).residuals(seen(60.0), views).validity.any()
    hidden = seen(60.0)
    hidden.raster.triangle = torch.zeros_like(hidden.raster.triangle)
    near = working_views(disc_mask(SIZE, 63.0))
    assert NearestContour().residuals(seen(60.0), near).validity.any()
    assert not NearestContour().residuals(hidden, near).validity.any()


def test_row_form_measures_mm_and_respects_delta():
    views = working_views(disc_mask(SIZE, 50.0))
    wide = RowContour(delta=0.5).residuals(seen(60.0), views)
    y = project(ball(60.0), SIZE)[:, 1]
    assert not wide.validity[0, y <= 100].any()
    points = project(ball(60.0), SIZE)
    # deeper inside than the margin nothing pulls; further out everything does
    reach = (50.0**2 - (y - 100.0) ** 2).clamp_min(0).sqrt()
    off = (points[:, 0] - 100.0).abs()
    rows = (y > 101) & (y < 145)
    assert wide.validity[0, rows & (off > reach)].all()
    assert not wide.validity[0, rows & (off < reach - 4.0)].any()
    assert not wide.validity[0, y > 151].any()  # rows without mask
    # the vertex at the sphere's right end, on row 100: 60.3 - 50 px outside
    values = RowContour(delta=0.0).residuals(seen(60.0), views).values[0]
    rightmost = points[:, 0].argmax()
    assert values[rightmost].item() == pytest.approx(5.1, abs=0.3)


def test_the_same_view_twice_has_the_same_energy():
    one = seen(60.0)
    mask = disc_mask(SIZE, 56.0)
    two = prediction(
        one.points.repeat(2, 1, 1), FACES, SIZE, (one.raster.triangle >= 0).repeat(2, 1, 1)
    )
    for term in (NearestContour(), RowContour(delta=0.2)):
        once = reduce(term.residuals(one, working_views(mask)))
        twice = reduce(term.residuals(two, working_views(mask.repeat(2, 1, 1))))
        assert once > 0
        torch.testing.assert_close(once, twice)


def test_turning_the_picture_does_not_change_the_nearest_form():
    scene, mask = seen(60.0, (10.0, 5.0)), disc_mask(SIZE, 57.0)
    once = reduce(NearestContour().residuals(scene, working_views(mask)))
    x, y, z = scene.points.unbind(-1)  # a quarter turn of the image
    covered = (scene.raster.triangle >= 0).rot90(1, (1, 2))
    turned = prediction(torch.stack((y, SIZE - x, z), -1), FACES, SIZE, covered)
    again = reduce(NearestContour().residuals(turned, working_views(mask.rot90(1, (1, 2)).clone())))
    torch.testing.assert_close(once, again, rtol=0.02, atol=1e-3)


def test_gradient_of_both_forms():
    views = working_views(disc_mask(SIZE, 56.0))
    scene = seen(60.0)
    # off the pixel grid's lines, where the nearest edge changes
    move = torch.full((1, 1, 2), 1e-3, dtype=torch.float64, requires_grad=True)
    start = scene.points

    def energy(move, term):
        scene.points = torch.cat((start[..., :2] + move, start[..., 2:]), -1)
        return reduce(term.residuals(scene, views))

    def row_energy(dx):
        zero = torch.zeros_like(dx)
        return energy(torch.stack((dx, zero), -1), RowContour(delta=0.2))

    assert torch.autograd.gradcheck(lambda m: energy(m, NearestContour()), move)
    assert torch.autograd.gradcheck(row_energy, move[..., 0].detach().requires_grad_())
