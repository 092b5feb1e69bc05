"""Displacement along normals."""

from __future__ import annotations

import pytest
import torch

from hrnfit.model.displacement import displace, sample_map

FACES = torch.tensor([[0, 1, 2]], dtype=torch.int32)
UV = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75]])
POINTS = torch.tensor([[0.0, 0, 0], [10, 0, 0], [0, 10, 0]])
NORMALS = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])


def test_moves_each_vertex_by_its_texel():
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    moved = displace(POINTS, NORMALS, image, UV, FACES, FACES)
    expected = POINTS + torch.tensor([1.0, 2.0, 3.0])[:, None] * NORMALS
    assert torch.allclose(moved, expected)


def test_a_constant_map_is_an_offset_surface_for_both_kernels():
    for kernel in ("bilinear", "cubic"):
        moved = displace(POINTS, NORMALS, torch.full((8, 8), 0.5), UV, FACES, FACES, kernel)
        assert torch.allclose(moved, POINTS + 0.5 * NORMALS, atol=1e-6)


def test_gradients_and_a_seam(generator):
    image = torch.randn(4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    uv = torch.cat([UV, torch.tensor([[0.9, 0.9]])]).double()
    faces = torch.tensor([[0, 1, 2], [0, 2, 1]], dtype=torch.int32)
    uv_faces = torch.tensor([[0, 1, 2], [3, 2, 1]], dtype=torch.int32)

    def moved(image, points, normals):
        return displace(points, normals, image, uv, faces, uv_faces)

    inputs = (image, POINTS.double().requires_grad_(), NORMALS.double().requires_grad_())
    assert torch.autograd.gradcheck(moved, inputs)
    values = sample_map(image, uv)
    height = (moved(*inputs) - POINTS)[0, 2]
    assert torch.allclose(height, 0.5 * (values[0] + values[3]))


def test_messages():
    with pytest.raises(ValueError, match="as many rows as columns"):
        sample_map(torch.zeros(4, 8), UV)
