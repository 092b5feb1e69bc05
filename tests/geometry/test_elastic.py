"""The elastic surface: what it must not resist, and how it continues what is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.geometry.elastic import Elastic, vertex_areas
from hrnfit.geometry.filling import Filling
from hrnfit.geometry.registration import Handles, Partners, register
from hrnfit.geometry.rotation import rotation_exp
from tests.model.faces import sheet


def moved(points: torch.Tensor, scale: float = 1.15) -> torch.Tensor:
    R = rotation_exp(torch.tensor([0.4, -0.5, 0.3], dtype=torch.float64))
    return scale * points.double() @ R.mT + torch.tensor([10.0, -20.0, 5.0], dtype=torch.float64)


def test_similarities_are_found_and_cost_nothing():
    points, faces = sheet()
    elastic = Elastic(points, faces)
    x = moved(points).numpy()
    R = rotation_exp(torch.tensor([0.4, -0.5, 0.3], dtype=torch.float64)).numpy()
    assert np.allclose(elastic.similarities(x), 1.15 * R, atol=1e-6)
    for stretch in (0.0, 0.5):
        force = elastic.matrix(10.0, stretch) @ x - elastic.right(x, 10.0, stretch)
        scale = np.abs(elastic.matrix(10.0, stretch) @ x).max()
        assert np.abs(force).max() < 1e-6 * scale


def test_bending_costs():
    points, faces = sheet()
    elastic, x = Elastic(points, faces), points.double().numpy().copy()
    x[:, 2] += 5.0 * np.sin(x[:, 0] / 8.0)
    force = elastic.matrix(10.0, 0.05) @ x - elastic.right(x, 10.0, 0.05)
    assert float((force * (x - points.double().numpy())).sum()) > 0.0


def test_areas_sum_to_the_surface():
    square = np.array([[0.0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]])
    areas = vertex_areas(square, np.array([[0, 1, 2], [0, 2, 3]]))
    assert areas.tolist() == pytest.approx([2 / 3, 1 / 3, 2 / 3, 1 / 3])


def test_a_shift_of_what_is_given_shifts_all():
    points, faces = sheet()
    known = points[:, 1] < 30.0
    shift = torch.tensor([3.0, -1.0, 2.0])
    filled = Filling(points, faces, known)(torch.where(known[:, None], points + shift, 0.0))
    assert torch.allclose(filled, points + shift, atol=1e-3)


def test_offsets_go_on_without_a_kink_and_settle():
    points, faces = sheet()
    known = points[:, 1] < 30.0
    given = points.clone()
    given[:, 2] += 0.05 * points[:, 1]  # tilted where it is given
    filled = Filling(points, faces, known, bending=30.0)(torch.where(known[:, None], given, 0.0))
    offset = (filled - points)[:, 2]
    border = (points[:, 1] > 30.0) & (points[:, 1] < 37.0)
    assert float((offset - 0.05 * points[:, 1])[border].abs().median()) < 0.1
    assert float(offset[points[:, 1] > 80.0].max()) < 0.05 * 100.0  # not on along the tilt for ever
    assert torch.equal(filled[known], given[known])


def test_loose_parts_move_rigidly_with_their_surroundings():
    points, faces = sheet()
    ball = torch.tensor([[0.0, 0, 0], [6, 0, 0], [0, 6, 0], [0, 0, 6]]) + torch.tensor(
        [32.0, 35, 30]
    )
    n = len(points)
    both = torch.cat([points, ball])
    triangles = torch.cat(
        [faces, torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]).int() + n]
    )
    known = torch.arange(n + 4) < n
    target = moved(both, scale=1.0).float()
    filled = Filling(both, triangles, known)(torch.where(known[:, None], target, 0.0))
    assert torch.allclose(filled, target, atol=1e-2)


def test_soft_positions_draw_and_nothing_given_is_told():
    points, faces = sheet()
    known = points[:, 1] < 30.0
    soft = ((points[:, 1] > 60.0) & (points[:, 1] < 70.0)).double()
    given = points + soft.float()[:, None] * torch.tensor([0.0, 0.0, 4.0])
    heights = [
        float((Filling(points, faces, known, w * soft)(given) - points)[soft > 0, 2].mean())
        for w in (0.0, 1e-3, 10.0)
    ]
    assert heights == sorted(heights)
    assert heights[0] == pytest.approx(0.0, abs=1e-4)
    assert heights[2] == pytest.approx(4.0, abs=0.2)
    with pytest.raises(ValueError, match="no vertex has a given position"):
        Filling(points, faces, known & False)


def test_registration_lands_on_the_surface_and_follows_its_handles():
    points, faces = sheet()
    wave = torch.stack(
        [0 * points[:, 0], 0 * points[:, 0], 6.0 * torch.sin(points[:, 0] / 30.0)], 1
    )
    corners = faces[::40]
    handles = Handles(
        torch.arange(len(faces))[::40],
        torch.full((len(corners), 3), 1.0 / 3.0),
        (points + wave)[corners.long()].mean(1),
        torch.full((len(corners),), 1.0),
    )
    seen: list[float] = []
    found = register(
        points,
        faces,
        lambda x, _: Partners((points + wave).double(), torch.ones(len(x)).double()),
        handles,
        progress=seen.append,
    )
    assert float((found - points - wave).norm(dim=1).max()) < 0.3
    assert seen[-1] == 1.0
    alone = register(points, faces, lambda x, _: Partners(x, torch.zeros(len(x)).double()), handles)
    assert float((alone - points - wave).norm(dim=1).median()) < 1.0
