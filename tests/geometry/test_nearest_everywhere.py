"""Nearest points by looking at every triangle: by hand, against the trees, and as a kernel."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from hrnfit.geometry import nearest_everywhere
from hrnfit.geometry.nearest_everywhere import EveryTriangle, nearest_on, nearest_triangles_plain
from hrnfit.metrics import Surface
from tests.geometry.test_nearest import TRIANGLE
from tests.model.faces import sheet

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


@pytest.mark.parametrize(
    ("point", "place", "weights"),
    [
        ([0.5, 0.5, 3.0], [0.5, 0.5, 0.0], [0.5, 0.25, 0.25]),  # above the inside
        ([1.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]),  # beside an edge
        ([-1.0, 0.5, 0.0], [0.0, 0.5, 0.0], [0.75, 0.0, 0.25]),  # beside the other
        ([2.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.5, 0.5]),  # beside the long edge
        ([-1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),  # before a corner
    ],
)
def test_by_hand(point, place, weights):
    found = EveryTriangle(TRIANGLE, torch.tensor([[0, 1, 2]])).nearest(torch.tensor([point]))
    assert found.points[0].tolist() == pytest.approx(place)
    assert found.barycentric[0].tolist() == pytest.approx(weights)
    gap = (torch.tensor(point) - torch.tensor(place)).norm()
    assert float(found.distance[0]) == pytest.approx(float(gap))


@pytest.mark.parametrize("line", [[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]], [[1.5, 0, 0]] * 3])
def test_a_triangle_without_area_is_its_edges(line):
    point = torch.tensor([[1.5, 1.0, 0.0]])
    found = EveryTriangle(torch.tensor(line), torch.tensor([[0, 1, 2]])).nearest(point)
    assert found.points[0].tolist() == pytest.approx([1.5, 0.0, 0.0])


def test_a_mesh_without_triangles_is_an_error():
    with pytest.raises(ValueError, match="at least one triangle"):
        EveryTriangle(TRIANGLE, torch.zeros(0, 3, dtype=torch.int64))


def test_batches_broadcast(generator):
    corners = torch.randn(5, 3, 3, generator=generator)
    points = torch.randn(4, 1, 3, generator=generator)
    square, weights = nearest_on(points, corners)
    assert (square.shape, weights.shape) == ((4, 5), (4, 5, 3))
    one, _ = nearest_on(points[2, 0], corners[3])
    assert torch.equal(one, square[2, 3])


def agrees_with_trees(device: str, generator: torch.Generator) -> None:
    vertices, faces = sheet()
    points = vertices + 3.0 * torch.randn(vertices.shape, generator=generator)
    exact = Surface(vertices, faces).nearest(points)
    search = EveryTriangle(vertices.to(device), faces.to(device))
    found = search.nearest(points.to(device))
    assert found.points.device.type == device
    assert torch.allclose(found.distance.cpu(), exact.distance, atol=1e-6)
    # two places of one distance may exist: on ridges, not at 99 of 100 points
    apart = (found.points.cpu() - exact.points).norm(dim=1)
    assert float((apart < 1e-5).double().mean()) > 0.99


def test_agrees_with_the_trees(generator, monkeypatch):
    monkeypatch.setattr(nearest_everywhere, "TESTS_AT_ONCE", 10_000)
    agrees_with_trees("cpu", generator)


@needs_gpu
def test_agrees_with_the_trees_on_a_gpu(generator):
    agrees_with_trees("cuda", generator)


def test_no_points():
    none = nearest_triangles_plain(torch.zeros(0, 3), TRIANGLE[None])
    assert none.shape == (0,)


INTERPRETED = """
import torch
from hrnfit.geometry.nearest_everywhere import nearest_triangles_plain
from hrnfit.geometry.nearest_triton import nearest_triangles_triton

g = torch.Generator().manual_seed(0)
points = torch.randn(40, 3, generator=g)
corners = 0.3 * torch.randn(150, 3, 3, generator=g) + torch.randn(150, 1, 3, generator=g)
corners[7, 1], corners[9] = corners[7, 0], corners[9, :1]  # an edge of no length, a point
corners[20], points[0] = corners[10], corners[10].mean(0)  # the lower index of equals
found = nearest_triangles_triton(points, corners)
assert torch.equal(found, nearest_triangles_plain(points, corners))
assert int(found[0]) == 10 and len(nearest_triangles_triton(points[:0], corners)) == 0
"""


def test_the_kernel_in_the_interpreter():
    pytest.importorskip("triton")
    interpreted(INTERPRETED)


def interpreted(script: str) -> None:
    """Run a script in a process whose Triton kernels are Python."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
