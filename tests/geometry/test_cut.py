"""Surfaces cut open."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.geometry.cut import components, cut_along, midline_path
from hrnfit.geometry.uv import boundary_loops

COLUMNS, ROWS = 5, 4


def grid() -> tuple[np.ndarray, np.ndarray]:
    """A flat 5 x 4 grid: vertex = row * 5 + column, x = column - 2, y = row."""
    y, x = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS) - 2, indexing="ij")
    points = np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3).astype(float)
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack([a, b, d], -1), np.stack([a, d, c], -1)]).reshape(-1, 3)
    return points, faces


def test_a_cut_doubles_its_vertices_but_the_last():
    points, faces = grid()
    cut = cut_along(faces, np.array([2, 7, 12]), len(points))
    assert cut.source.tolist()[len(points) :] == [2, 7]
    assert (cut.source[cut.faces] == faces).all()
    # the two sides of the cut share the uncut vertex only
    left = cut.faces[(points[faces].mean(axis=1)[:, 0] < 0) & (points[faces][:, :, 1].max(1) <= 2)]
    right = cut.faces[(points[faces].mean(axis=1)[:, 0] > 0) & (points[faces][:, :, 1].max(1) <= 2)]
    assert set(left.ravel()) & set(right.ravel()) == {12}
    (loop,) = boundary_loops(torch.from_numpy(cut.faces), len(cut.source))
    assert len(loop) == 14 + 4


def test_a_path_off_the_edges_is_refused():
    points, faces = grid()
    with pytest.raises(ValueError, match="share no edge"):
        cut_along(faces, np.array([2, 17]), len(points))


def test_the_shortest_path_stays_near_the_middle():
    points, faces = grid()
    path = midline_path(points, faces, 17, np.array([2]), 0.1)
    assert path.tolist() == [17, 12, 7, 2]
    apart = np.concatenate([faces, faces + len(points)])
    twice = np.concatenate([points, points + np.array([0.0, 0.0, 9.0])])
    with pytest.raises(ValueError, match="not connected"):
        midline_path(twice, apart, 17, np.array([22]), 0.1)


def test_components_come_largest_first():
    _, faces = grid()
    apart = np.concatenate([faces[:3] + 20, faces])
    parts = components(apart, 40)
    assert [len(part) for part in parts] == [24, 3]
    assert (apart[parts[0]] < 20).all()
