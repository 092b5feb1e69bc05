"""The occluding contour of a sphere is a known circle; an open edge is no contour."""

from __future__ import annotations

import pytest
import torch

from hrnfit.energy.occluding import edges_of, front_facing, mesh_edges, silhouette, uncovered
from tests.energy.scene import ball, disc_mask, outline_radius, project, sphere

SIZE = 200
FACES = sphere()[1]


def test_two_triangles_share_one_edge():
    edges = mesh_edges(torch.tensor([[0, 1, 2], [2, 1, 3]], dtype=torch.int32))
    assert sorted(edges.inner[0].tolist()) == [1, 2]
    assert sorted(edges.inner_faces[0].tolist()) == [0, 1]
    assert dict(
        zip(edges.inner_faces[0].tolist(), edges.inner_opposite[0].tolist(), strict=True)
    ) == {
        0: 0,
        1: 3,
    }
    assert {frozenset(e) for e in edges.open.tolist()} == {
        frozenset(e) for e in [(0, 1), (0, 2), (1, 3), (2, 3)]
    }


def test_closed_surface_has_no_open_edge_and_obeys_euler():
    edges = edges_of(FACES)
    assert len(edges.open) == 0
    assert len(sphere()[0]) - len(edges.inner) + len(FACES) == 2
    assert edges_of(FACES) is edges


def test_front_of_the_sphere_is_the_nearer_side():
    vertices = ball(60.0)
    front = front_facing(project(vertices, SIZE)[None], FACES)[0]
    depth = vertices[FACES.long()].mean(1)[:, 2]
    assert depth[front].max() < depth[~front].min() + 10.0
    assert 0.4 < front.double().mean() < 0.5  # perspective sees less than half


def test_contour_lies_on_the_circle_and_points_away_from_its_centre():
    points = project(ball(60.0), SIZE)[None]
    outline = silhouette(points, FACES)
    from_centre = points[0, outline.mask[0], :2] - SIZE / 2
    radius = from_centre.norm(dim=-1)
    # vertices are 4 mm apart: none can be further inside than the sag of an edge
    assert (radius - outline_radius(60.0)).abs().max() < 4.0
    cosine = (outline.outward[0, outline.mask[0]] * from_centre).sum(-1) / radius
    assert cosine.min() > 0.8
    assert not outline.outward[0, ~outline.mask[0]].any()


def test_an_open_half_ball_seen_from_its_front_has_no_contour():
    vertices, faces = ball(60.0), FACES
    near = vertices[faces.long()].mean(1)[:, 2] < 580.0  # a mask-like cap, cut before it turns away
    cap = faces[near].contiguous()
    outline = silhouette(project(vertices, SIZE)[None], cap)
    assert len(edges_of(cap).open) > 0
    assert not outline.mask.any()


def test_views_are_independent():
    one, two = project(ball(60.0), SIZE), project(ball(40.0, (20.0, 0.0)), SIZE)
    both = silhouette(torch.stack((one, two)), FACES)
    assert torch.equal(both.mask[1], silhouette(two[None], FACES).mask[0])
    assert torch.equal(both.mask[0], silhouette(one[None], FACES).mask[0])


@pytest.mark.parametrize(
    ("radius", "expected"), [(outline_radius(60.0) + 0.5, True), (90.0, False)]
)
def test_contour_before_the_own_surface_is_covered(radius, expected):
    points = project(ball(60.0), SIZE)[None]
    outline = silhouette(points, FACES)
    free = uncovered(disc_mask(SIZE, radius) > 0.5, points, outline.outward, step=4.5)
    assert bool(free[outline.mask].double().mean() > 0.5) is expected


def test_outside_the_window_nothing_is_uncovered():
    points = torch.tensor([[[-5.0, 3.0, 1.0], [3.0, 3.0, 1.0]]])
    free = uncovered(torch.zeros(1, 8, 8).bool(), points, torch.zeros(1, 2, 2))
    assert free.tolist() == [[False, True]]
