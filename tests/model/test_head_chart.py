"""Charts of whole heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.geometry.uv import chart_quality, overlaps
from hrnfit.model.head_chart import head_chart
from tests.model.heads import head


def made():
    raw = head()
    points, faces = torch.from_numpy(raw.points), torch.from_numpy(raw.faces).int()
    return raw, points, faces, head_chart(points, faces, points[raw.marks[30]])


def test_no_triangle_is_flipped_or_covered():
    _, points, faces, chart = made()
    quality = chart_quality(points, faces, chart.uv, chart.uv_faces)
    assert quality.flipped == 0
    assert overlaps(chart.uv, chart.uv_faces) == 0
    assert quality.used > 0.7
    assert float(chart.uv.min()) >= 0.0
    assert float(chart.uv.max()) <= 1.0


def test_the_face_has_more_texels_than_the_back():
    _, points, faces, chart = made()
    ratio = chart_quality(points, faces, chart.uv, chart.uv_faces).area_ratio
    middle = points[faces.long()].mean(dim=1)
    skin = ~chart.islands[faces[:, 0].long()]
    front = skin & (middle[:, 2] > 40.0) & (middle[:, 1].abs() < 80.0)
    assert float(ratio[front].median()) > 1.5 * float(ratio[skin & (middle[:, 2] < -40.0)].median())


def test_only_the_back_of_the_head_is_cut():
    _, points, faces, chart = made()
    pairs = torch.stack([faces.flatten().long(), chart.uv_faces.flatten().long()], 1).unique(dim=0)
    copies = torch.bincount(pairs[:, 0], minlength=len(points))
    cut = (copies > 1) & ~chart.islands
    assert int(cut.sum()) > 10
    assert float(points[cut, 2].max()) < 1.0
    assert float(points[cut, 0].abs().max()) < 1.0


def test_eyeballs_lie_in_the_corners_of_their_side():
    raw, points, faces, chart = made()
    flat = torch.zeros(len(points), 2, dtype=chart.uv.dtype)
    flat[faces.flatten().long()] = chart.uv[chart.uv_faces.flatten().long()]
    left = torch.from_numpy(raw.weights[:, 3] == 1.0)
    assert torch.equal(chart.islands, torch.from_numpy(raw.weights[:, 3:].sum(1) == 1.0))
    assert float(flat[left].min()) > 0.85
    right = flat[chart.islands & ~left]
    assert float(right[:, 0].max()) < 0.15
    # the front of an eyeball is in the middle of its island
    front = int(torch.where(left, points[:, 2], -torch.inf).argmax())
    assert torch.allclose(flat[front], torch.tensor([0.9425, 0.9425]).to(flat), atol=0.01)
    # up is up: the forehead lies above the chin
    assert float(flat[int(raw.marks[27]), 1]) < float(flat[int(raw.marks[8]), 1])


def test_a_closed_head_has_no_rim():
    raw = head()
    ball = torch.from_numpy(raw.faces[(raw.weights[raw.faces, 3] == 1.0).all(axis=1)]).int()
    used, local = np.unique(ball.numpy(), return_inverse=True)
    points = torch.from_numpy(raw.points[used])
    with pytest.raises(ValueError, match="the head is closed"):
        head_chart(points, torch.from_numpy(local.reshape(-1, 3)).int(), points[0])
