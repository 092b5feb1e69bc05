"""A chart carried on over a bag behind one of its holes."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry.uv import boundary_loops, chart_quality, disk_chart
from hrnfit.geometry.uv_extend import extend_chart
from tests.model.faces import sheet


def bagged() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The sheet with a cone behind its mouth; vertices, triangles and which are the sheet's own."""
    points, faces = sheet()
    loops = boundary_loops(faces, len(points))[1:]
    rim = min(loops, key=lambda loop: float(points[loop, 1].mean()))
    n, k = len(points), len(rim)
    middle = points[rim].mean(dim=0)
    ring = middle + 0.5 * (points[rim] - middle) - torch.tensor([0.0, 0.0, 12.0])
    apex = middle[None] - torch.tensor([[0.0, 0.0, 22.0]])
    inner, after = n + torch.arange(k), rim.roll(-1)
    cone = torch.cat(
        [
            torch.stack([after, rim, inner], 1),
            torch.stack([after, inner, inner.roll(-1)], 1),
            torch.stack([inner.roll(-1), inner, torch.full((k,), n + k)], 1),
        ]
    )
    every = torch.cat([points, ring, apex])
    return every, torch.cat([faces, cone.int()]), torch.arange(len(every)) < n


def test_the_known_part_stays_and_nothing_flips():
    points, faces, known = bagged()
    own = faces[known[faces.long()].all(dim=1)]
    uv = torch.zeros(len(points), 2)
    uv[known] = disk_chart(points[known], own)
    found = extend_chart(points, faces, uv, known)
    assert torch.equal(found[known], uv[known])
    assert chart_quality(points, faces, found, faces).flipped == 0


def test_new_vertices_are_means_of_their_neighbours():
    """A square with a pyramid on it: the apex lies in the middle, by symmetry."""
    points = torch.tensor([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 1]])
    faces = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], dtype=torch.int32)
    uv = torch.tensor([[0.2, 0.2], [0.8, 0.2], [0.8, 0.6], [0.2, 0.6], [0, 0]])
    found = extend_chart(points, faces, uv, torch.arange(5) < 4)
    assert torch.allclose(found[4], torch.tensor([0.5, 0.4]), atol=1e-6)


def test_loose_surface_is_refused():
    points, faces, known = bagged()
    far = torch.cat([points, points[:3] + 500.0])
    loose = torch.cat([faces, len(points) + torch.tensor([[0, 1, 2]], dtype=torch.int32)])
    with pytest.raises(ValueError, match="not one connected surface"):
        extend_chart(far, loose, torch.zeros(len(far), 2), torch.cat([known, known[:3]]))
