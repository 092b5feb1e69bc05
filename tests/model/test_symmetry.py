"""Mirror pairs."""

from __future__ import annotations

import torch

from hrnfit.model.symmetry import mirror_pairs


def test_pairs_of_a_symmetric_set():
    right = torch.tensor([[3.0, 1.0, 2.0], [5.0, -4.0, 0.0]])
    points = torch.cat([right, torch.tensor([[0.0, 7.0, 1.0]]), right * torch.tensor([-1.0, 1, 1])])
    pairs = mirror_pairs(points)
    assert pairs is not None
    assert pairs.tolist() == [3, 4, 2, 0, 1]


def test_asymmetric_sets_have_none():
    points = torch.tensor([[3.0, 1.0, 2.0], [-3.0, 1.0, 5.0]])
    assert mirror_pairs(points) is None
    assert mirror_pairs(points, tolerance=4.0) is not None


def test_two_vertices_cannot_share_a_mirror_image():
    points = torch.tensor([[3.0, 0.0, 0.0], [3.1, 0.0, 0.0], [-3.0, 0.0, 0.0]])
    assert mirror_pairs(points) is None


def test_crowded_vertices_are_matched_one_to_one():
    """Of three in a row the nearest images chase each other; a matching gives each its own."""
    row = torch.tensor([[3.0, 0.0, 0.0], [3.3, 0.0, 0.0], [3.6, 0.0, 0.0]])
    images = torch.tensor([[-3.2, 0.0, 0.0], [-3.5, 0.0, 0.0], [-3.8, 0.0, 0.0]])
    pairs = mirror_pairs(torch.cat([row, images]))
    assert pairs is not None
    assert pairs.tolist() == [3, 4, 5, 0, 1, 2]
