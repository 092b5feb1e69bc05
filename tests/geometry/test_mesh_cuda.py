"""Normals, sparse rows and projection by kernels against the plain formulas, in Triton's interpreter or on a device."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.geometry.launched import INTERPRETED
from hrnfit.geometry.mesh import gathered_vertex_normals
from hrnfit.geometry.mesh_cuda import (
    around_vertices,
    cuda_project,
    cuda_rows,
    cuda_vertex_normals,
)
from hrnfit.geometry.rows import by_row, plain_rows, project_views
from tests.energy.scene import sphere

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

UNIT, FACES = (part.to(DEVICE) for part in sphere(rings=6, sides=8))


def random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(DEVICE)


def check(ours, plain, x, generator, tolerance=1e-9):
    """Values and gradients of two functions of x agree."""
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    left, right = ours(a), plain(b)
    weight = random(generator, *left.shape)
    assert torch.allclose(left, right, atol=tolerance)
    (by_left,) = torch.autograd.grad((left * weight).sum(), a)
    (by_right,) = torch.autograd.grad((right * weight).sum(), b)
    assert torch.allclose(by_left, by_right, atol=tolerance)


def test_the_table_names_the_two_other_corners_in_order():
    table = around_vertices(torch.tensor([[0, 1, 2], [2, 1, 3]], device=DEVICE), 5)
    assert table[0].tolist() == [[1, 2], [-1, -1]]
    assert table[2].tolist() == [[0, 1], [1, 3]]
    assert table[4].tolist() == [[-1, -1], [-1, -1]]


def test_normals_of_a_rough_sphere_and_of_a_lone_vertex(generator):
    lone = torch.cat([UNIT, torch.zeros_like(UNIT[:1])])
    x = lone + 0.1 * random(generator, 2, *lone.shape)
    check(
        lambda v: cuda_vertex_normals(v, FACES),
        lambda v: gathered_vertex_normals(v, FACES),
        x, generator,
    )  # fmt: skip
    assert not cuda_vertex_normals(x, FACES)[:, -1].any()


def test_a_vertex_of_more_triangles_than_are_taken_at_once(generator):
    """A fan of eleven around one vertex; no other has more than two."""
    rim = torch.arange(1, 12)
    faces = torch.stack([torch.zeros_like(rim), rim, rim + 1], 1).to(DEVICE)
    x = random(generator, 13, 3)
    check(
        lambda v: cuda_vertex_normals(v, faces),
        lambda v: gathered_vertex_normals(v, faces),
        x, generator,
    )  # fmt: skip


def test_no_frame_has_no_normals():
    none = UNIT.new_zeros(0, *UNIT.shape).requires_grad_()
    normals = cuda_vertex_normals(none, FACES)
    assert normals.shape == none.shape
    assert torch.autograd.grad(normals.sum(), none)[0].shape == none.shape


def test_rows_with_padding_and_a_batch(generator):
    index = torch.randint(0, 9, (6, 4), generator=generator).to(DEVICE)
    weights = random(generator, 6, 4)
    weights[:, 2] = 0.0
    x = random(generator, 2, 3, 9, 3)
    check(
        lambda v: cuda_rows(v, index, weights),
        lambda v: plain_rows(v, index, weights),
        x,
        generator,
    )


def test_projection_of_frames_that_views_share(generator):
    frame = torch.tensor([0, 1, 0], device=DEVICE)
    K = 100 * random(generator, 3, 3, 3)
    K[:, 2] = K.new_tensor([0.0, 0.0, 1.0])
    T = torch.eye(4, device=DEVICE).double() + 0.1 * random(generator, 3, 4, 4)
    T[:, 2, 3] = 50.0
    x = random(generator, 2, 7, 3)
    check(
        lambda v: cuda_project(v, frame, K, T),
        lambda v: project_views(v[frame], K, T),
        x,
        generator,
    )


def test_double_backward_goes_through_the_plain_formula(generator):
    x = random(generator, 1, 5, 3).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [1, 3, 2], [2, 3, 4]], device=DEVICE)
    assert torch.autograd.gradgradcheck(lambda v: cuda_vertex_normals(v, faces), x)


def test_columns_of_wider_rows_are_read_where_they_lie():
    wide = torch.arange(2 * 3 * 4.0).view(2, 3, 4)
    rows, stride = by_row(wide[..., :3])
    assert (rows.data_ptr(), stride) == (wide.data_ptr(), 4)
    assert by_row(wide)[1] == 4
    for values in (wide.mT, wide[:, :2], wide[..., ::2], wide[:, :1].expand(2, 3, 4)):
        rows, stride = by_row(values)
        assert rows.is_contiguous()
        assert stride == values.shape[-1]
    lone = wide[:1, :1, :3]  # the strides of single rows say nothing
    assert by_row(lone)[0].data_ptr() == wide.data_ptr()
