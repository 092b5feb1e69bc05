"""Distances between a fit and its conversion, by hand."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.result import MeshLevel
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.transfer.correspondence import Correspondence
from hrnfit.transfer.distances import Coverage, coverage, drawn, transfer_error
from hrnfit.transfer.folds import folds, without_islands
from tests.transfer.faces import COARSE, face


def plane(height: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A square of 10 mm in two triangles."""
    corners = torch.tensor([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]])
    return corners + torch.tensor([0, 0, height]), torch.tensor([[0, 1, 2], [0, 2, 3]]).int()


def test_two_planes_are_as_far_apart_as_they_are():
    (low, faces), (high, _) = plane(0.0), plane(0.5)
    level = MeshLevel("mid", low, vertex_normals(low, faces), faces, low[:, :2], faces)
    both = torch.ones(2, dtype=torch.bool)
    error = transfer_error(level, high, faces, Coverage(both, both, 0.0, 0.0))
    for way in (error.target_to_source, error.source_to_target):
        assert (way.median, way.p95, way.max) == pytest.approx((0.5, 0.5, 0.5))


def test_only_the_common_region_counts():
    (low, faces), (high, _) = plane(0.0), plane(0.5)
    high = high.clone()
    high[3, 2] = 40.0  # only in the second triangle
    level = MeshLevel("mid", low, vertex_normals(low, faces), faces, low[:, :2], faces)
    first = torch.tensor([True, False])
    error = transfer_error(level, high, faces, Coverage(first, first, 0.5, 0.25))
    assert error.target_to_source.max == pytest.approx(0.5)


def test_points_are_drawn_evenly(generator):
    vertices, faces = plane(0.0)
    points = drawn(vertices, faces, 20_000, generator)
    assert points.mean(0).tolist() == pytest.approx([5.0, 5.0, 0.0], abs=0.1)
    assert float(((points[:, 0] < 2.5) & (points[:, 1] > 7.5)).float().mean()) == pytest.approx(
        1 / 16, abs=0.01
    )
    assert drawn(vertices, faces[:0], 10, generator).shape == (0, 3)


def test_a_face_covers_itself():
    mesh = face(COARSE)
    n = len(mesh.vertices)
    own = torch.full((n,), -1, dtype=torch.int32)
    weights = torch.zeros(n, 3)
    for corner in range(3):
        own[mesh.faces[:, corner].long()] = torch.arange(len(mesh.faces)).int()
    weights[
        torch.arange(n), (mesh.faces[own.long()] == torch.arange(n)[:, None]).int().argmax(1)
    ] = 1.0
    same = Correspondence(own, weights, mesh.vertices, mesh.vertices, torch.tensor(1.0))
    assert torch.allclose(same.on(mesh.vertices, mesh.faces), mesh.vertices)
    common = coverage(same, mesh, mesh)
    assert common.uncovered == 0.0
    assert bool(common.target.all())
    assert bool(common.source.all())


def test_turned_and_crushed_triangles_are_folds():
    vertices, faces = plane(0.0)
    turned, crushed = vertices.clone(), vertices.clone()
    turned[3] = torch.tensor([10.0, 2.0, 0.0])
    crushed[3] = torch.tensor([5.0, 5.1, 0.0])
    assert folds(faces, (vertices,), vertices).tolist() == [False] * 4
    assert folds(faces, (vertices,), turned).tolist() == [True, False, True, True]
    assert folds(faces, (vertices,), crushed).tolist() == [True, False, True, True]
    assert folds(faces, (vertices, turned), turned).tolist() == [False] * 4


def test_islands_are_given_up_and_holes_stay():
    mesh = face(COARSE)
    valid = mesh.vertices[:, 1] > 0.0
    spotted = valid.clone()
    lone = int((mesh.vertices - torch.tensor([0.0, -70.0, 40.0])).norm(dim=1).argmin())
    spotted[lone] = True
    kept = without_islands(mesh.faces, spotted)
    assert not bool(kept[lone])
    assert bool(kept[mesh.vertices[:, 1] > 20.0].all())
