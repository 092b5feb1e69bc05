"""Jaw candidates: extreme vertices as the head turns."""

from __future__ import annotations

import torch

from hrnfit.model.contour import jaw_candidates
from tests.model.faces import ibug_vertices, sheet


def candidates():
    points, faces = sheet()
    jaw = ibug_vertices(points)[:17]
    return points, jaw, jaw_candidates(points, jaw, faces)


def test_the_point_itself_comes_first_and_padding_last():
    points, jaw, found = candidates()
    assert found.shape[0] == 17
    assert torch.equal(found[:, 0].long(), jaw)
    assert int(found.max()) < len(points)
    padding = (found < 0).int()
    assert bool((padding.diff(dim=1) >= 0).all())


def test_candidates_stay_near_and_in_their_plane():
    points, jaw, found = candidates()
    for k in range(17):
        offset = points[found[k][found[k] >= 0].long()] - points[jaw[k]]
        assert offset.norm(dim=1).max() < 32.0
    cheek = points[found[1][found[1] >= 0].long()]
    assert (cheek[:, 1] - cheek[0, 1]).abs().max() < 12.0  # slides level along the cheek


def test_a_turned_head_finds_its_outline_among_them():
    # where the head is turned by 30 degrees, the outermost candidate is close to the outline proper
    points, jaw, found = candidates()
    turn = torch.tensor(0.5)
    direction = torch.stack([-turn.cos(), torch.tensor(0.0), turn.sin()])
    row = found[2][found[2] >= 0].long()
    level = (points[:, 1] - points[jaw[2], 1]).abs() < 5.0
    near = (points - points[jaw[2]]).norm(dim=1) < 32.0
    outline = (points[level & near] @ direction).max()
    assert (points[row] @ direction).max() > outline - 1.0
    assert (points[row] @ direction).max() > points[jaw[2]] @ direction + 1.0
