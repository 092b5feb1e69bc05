"""The quick search for nearest points: by hand, and against the exact one."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry.nearest import NearestTriangles
from hrnfit.metrics import Surface
from tests.model.faces import sheet

TRIANGLE = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])


@pytest.mark.parametrize(
    ("point", "place", "weights"),
    [
        ([0.5, 0.5, 3.0], [0.5, 0.5, 0.0], [0.5, 0.25, 0.25]),  # above the inside
        ([1.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]),  # beside an edge
        ([2.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.5, 0.5]),  # beside the long edge
        ([-1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),  # before a corner
    ],
)
def test_by_hand(point, place, weights):
    found = NearestTriangles(TRIANGLE, torch.tensor([[0, 1, 2]]))(torch.tensor([point]))
    assert found.points[0].tolist() == pytest.approx(place)
    assert found.barycentric[0].tolist() == pytest.approx(weights)
    gap = (torch.tensor(point) - torch.tensor(place)).norm()
    assert float(found.distance[0]) == pytest.approx(float(gap))


def test_a_triangle_without_area_is_its_edges():
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    found = NearestTriangles(line, torch.tensor([[0, 1, 2]]))(torch.tensor([[1.5, 1.0, 0.0]]))
    assert found.points[0].tolist() == pytest.approx([1.5, 0.0, 0.0])


def test_agrees_with_the_exact_search(generator):
    vertices, faces = sheet()
    points = vertices + 3.0 * torch.randn(vertices.shape, generator=generator)
    quick, exact = (
        NearestTriangles(vertices, faces)(points),
        Surface(vertices, faces).nearest(points),
    )
    assert bool((quick.distance >= exact.distance - 1e-9).all())
    assert float((quick.distance - exact.distance < 1e-9).double().mean()) > 0.99


def test_only_some_triangles_are_asked():
    vertices, faces = sheet()
    upper = (vertices[faces.long()][..., 1] > 20.0).all(1).nonzero()[:, 0]
    found = NearestTriangles(vertices, faces, upper)(vertices)
    assert bool(torch.isin(found.triangle, upper).all())
    with pytest.raises(ValueError, match="at least one triangle"):
        NearestTriangles(vertices, faces, upper[:0])
