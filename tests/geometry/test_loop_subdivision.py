"""Loop's subdivision: its masks by hand, and what it keeps."""

from __future__ import annotations

import pytest
import torch

from hrnfit.geometry.loop_subdivision import loop_matrix, loop_positions
from hrnfit.geometry.mesh import subdivide

RING = torch.tensor([[0, k, k % 6 + 1] for k in range(1, 7)], dtype=torch.int32)
"""Six triangles around vertex 0."""


def hexagon() -> torch.Tensor:
    angle = torch.arange(6) * torch.pi / 3
    ring = torch.stack([angle.cos(), angle.sin(), torch.zeros(6)], dim=1)
    return torch.cat([torch.zeros(1, 3), ring])


def test_a_raised_vertex_follows_the_masks():
    points = hexagon()
    points[0, 2] = 1.0
    fine = loop_positions(points, RING)
    ends = subdivide(RING, 7).parents.long()
    assert abs(float(fine[0, 2]) - 5 / 8) < 1e-6  # regular vertices keep 5/8 of themselves
    spokes = (ends[7:] == 0).any(dim=1)
    torch.testing.assert_close(fine[7:][spokes, 2], torch.full((6,), 3 / 8))
    torch.testing.assert_close(fine[7:][~spokes, 2], torch.zeros(6))  # the rim knows only itself


def test_the_rim_is_its_own_spline():
    points = hexagon()
    fine = loop_positions(points, RING)
    ends = subdivide(RING, 7).parents.long()
    ring = points[1:]
    torch.testing.assert_close(
        fine[1:7], 0.75 * ring + 0.125 * (ring.roll(1, 0) + ring.roll(-1, 0))
    )
    spokes = (ends[7:] == 0).any(dim=1)
    middles = points[ends[7:][~spokes]].mean(dim=1)
    torch.testing.assert_close(fine[7:][~spokes], middles)


def test_affine_maps_pass_through(generator):
    points = torch.randn(7, 3, generator=generator)
    matrix, shift = torch.randn(3, 3, generator=generator), torch.randn(3, generator=generator)
    torch.testing.assert_close(
        loop_positions(points @ matrix + shift, RING),
        loop_positions(points, RING) @ matrix + shift,
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize(
    "faces",
    [
        RING,
        torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]),  # closed
        torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]]),  # three triangles at an edge
    ],
)
def test_the_matrix_is_the_same_step(faces, generator):
    points = torch.randn(8, 3, dtype=torch.float64, generator=generator)  # with unused ones
    matrix = loop_matrix(faces, 8)
    torch.testing.assert_close(
        torch.from_numpy(matrix @ points.numpy()), loop_positions(points, faces)
    )
