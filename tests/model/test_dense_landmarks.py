"""Robust centre of detections on a surface, and the embeddings that are shipped."""

from __future__ import annotations

import pytest
import torch

from hrnfit.model import dense_landmarks
from hrnfit.model.dense_landmarks import (
    closest_on_surface,
    robust_embedding,
    shipped_landmarks,
    write_shipped,
)
from hrnfit.model.linear import landmark_positions
from tests.model.faces import sheet


def test_closest_point_by_hand():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    query = torch.tensor([[0.2, 0.3, 0.7], [2.0, -1.0, 0.0]])
    triangle, weights, gap = closest_on_surface(points, faces, query)
    assert triangle.tolist() == [0, 0]
    assert torch.allclose(weights[0], torch.tensor([0.5, 0.2, 0.3]))
    assert torch.allclose(weights[1], torch.tensor([0.0, 1.0, 0.0]))
    assert gap.tolist() == pytest.approx([0.7, 2**0.5])


def test_points_of_the_surface_are_their_own_closest(generator):
    points, faces = sheet()
    triangles = torch.randint(len(faces), (50,), generator=generator)
    weights = torch.rand(50, 3, generator=generator)
    weights = weights / weights.sum(dim=1, keepdim=True)
    places = (points[faces[triangles].long()] * weights[..., None]).sum(dim=1)
    _, _, gap = closest_on_surface(points, faces, places)
    assert gap.max() < 1e-4


def detections(generator, strays: float, noise: float = 1.0, count: int = 400):
    """Detections around the middle of triangle 700, some of them far away."""
    points, faces = sheet()
    middle = points[faces[700].long()].mean(dim=0)
    places = middle + noise * torch.randn(count, 3, generator=generator) * torch.tensor([1.0, 1, 0])
    gone = torch.rand(count, generator=generator) < strays
    places[gone] = points[20] + torch.zeros(3)
    triangles, weights, _ = closest_on_surface(points, faces, places)
    return points, faces, middle, triangles[:, None], weights[:, None]


def test_centre_and_spread(generator):
    points, faces, middle, triangles, weights = detections(generator, strays=0.0)
    found = robust_embedding(points, faces, triangles, weights, torch.ones(400, 1))
    place = landmark_positions(points, faces, found)[0]
    assert (place - middle).norm() < 0.2
    assert float(found.spread[0]) == pytest.approx(1.0, rel=0.15)


def test_a_fifth_of_strays_moves_nothing(generator):
    points, faces, middle, triangles, weights = detections(generator, strays=0.2)
    found = robust_embedding(points, faces, triangles, weights, torch.ones(400, 1))
    place = landmark_positions(points, faces, found)[0]
    assert (place - middle).norm() < 0.6
    assert float(found.spread[0]) < 1.7


def test_points_seldom_or_never_seen_are_missing(generator):
    points, faces, _, triangles, weights = detections(generator, strays=0.0)
    weight = torch.ones(400, 5)
    weight[50:, 3] = 0.0
    weight[:, 4] = 0.0
    found = robust_embedding(
        points, faces, triangles.expand(-1, 5), weights.expand(-1, 5, -1), weight
    )
    assert (found.triangles >= 0).tolist() == [True, True, True, False, False]
    assert torch.equal(landmark_positions(points, faces, found)[4], torch.zeros(3))


def test_shipped_embeddings_belong_to_one_mesh(tmp_path, monkeypatch, generator):
    points, faces, _, triangles, weights = detections(generator, strays=0.0, count=8)
    found = robust_embedding(points, faces, triangles, weights, torch.ones(8, 1))
    monkeypatch.setattr(dense_landmarks, "SHIPPED", tmp_path)
    write_shipped(points, faces, found, tmp_path)
    again = shipped_landmarks(points, faces)
    assert again is not None
    assert torch.equal(again.triangles, found.triangles)
    assert torch.allclose(again.barycentric, found.barycentric)
    assert shipped_landmarks(points * 1.1, faces) is None
    assert shipped_landmarks(points, faces.flip(0)) is None
