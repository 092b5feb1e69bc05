"""Normals, edges, Laplacians, boundary loops and subdivision of small meshes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.geometry import mesh
from tests.render.scenes import sphere

SQUARE = torch.tensor([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], dtype=torch.float64)
HALVES = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
TETRA = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=torch.int32)
CORNERS = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)


def test_face_normals_are_twice_the_area_and_outward():
    expected = torch.tensor([[0, 0, 4], [0, 0, 4]], dtype=torch.float64)
    assert torch.equal(mesh.face_normals(SQUARE, HALVES), expected)
    outward = mesh.face_normals(CORNERS, TETRA)
    assert torch.equal(outward[3], torch.ones(3).double())
    assert torch.allclose(outward.sum(0), torch.zeros(3).double())  # closed surface


def test_vertex_normals_by_hand_weigh_by_area():
    # Vertex 0 of the corner tetrahedron: three unit right triangles along the negative axes.
    normals = mesh.vertex_normals(CORNERS, TETRA)
    assert torch.allclose(normals[0], -torch.ones(3).double() / 3**0.5)
    # Vertex 1: -y and -z sides and the slope (1, 1, 1), all twice-area weighted: (1, 0, 0).
    assert torch.allclose(normals[1], torch.tensor([1.0, 0, 0]).double())


def test_vertex_normals_of_a_sphere_are_radial_and_turn_with_it(generator):
    vertices, faces = sphere(40)
    inner = vertices[:, 1].abs() < 0.98
    normals = mesh.vertex_normals(vertices, faces)
    assert (normals * vertices).sum(-1)[inner].min() > 0.999
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    turn = turn * torch.linalg.det(turn)
    assert torch.allclose(mesh.vertex_normals(vertices @ turn.T, faces), normals @ turn.T)


def test_vertex_normals_in_batches_float32_and_without_compiled_loops(generator):
    vertices = torch.randn(2, 3, 4, 3, generator=generator, dtype=torch.float64)
    got = mesh.vertex_normals(vertices, TETRA)
    assert torch.equal(got[1, 2], mesh.vertex_normals(vertices[1, 2], TETRA))
    single = mesh.vertex_normals(vertices.float(), TETRA.long())
    assert torch.allclose(single, got.float(), atol=1e-5)
    plain = mesh.gathered_vertex_normals(vertices, TETRA)
    assert torch.allclose(plain, got)


def test_vertex_normals_gradient_and_safe_zero(generator):
    vertices = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v: mesh.vertex_normals(v, TETRA), vertices)
    assert gradcheck(lambda v: mesh.gathered_vertex_normals(v, TETRA), vertices)
    flat = torch.zeros(5, 3, requires_grad=True)  # no area, and vertex 4 in no triangle
    for function in (mesh.vertex_normals, mesh.gathered_vertex_normals):
        out = function(flat, TETRA)
        assert torch.equal(out, torch.zeros(5, 3))
        (gradient,) = torch.autograd.grad(out.sum(), flat)
        assert torch.equal(gradient, torch.zeros(5, 3))


def test_errors_before_memory_is_read():
    with pytest.raises(ValueError, match="indices 0 to 3, but there are 3 vertices"):
        mesh.vertex_normals(CORNERS[:3], TETRA)
    with pytest.raises(ValueError, match=r"vertices: expected \(\*B, N, 3\)"):
        inspect.unwrap(mesh.vertex_normals)(CORNERS[:, :2], TETRA)


def test_edges_and_adjacency():
    assert mesh.edges(HALVES).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    graph = mesh.adjacency(HALVES, 5).toarray()
    assert (graph == graph.T).all()
    assert graph.sum(1).tolist() == [3, 2, 3, 2, 0]


def test_uniform_laplacian_is_vertex_minus_mean_of_neighbours():
    laplacian = mesh.uniform_laplacian(HALVES, 5)
    values = np.array([1.0, 2.0, 4.0, 8.0, 5.0])
    expected = [1 - 14 / 3, 2 - 2.5, 4 - 11 / 3, 8 - 2.5, 0]
    assert (laplacian @ values).tolist() == pytest.approx(expected)


def test_cotangent_laplacian_is_the_dirichlet_energy():
    # A linear function of slope (a, b) on a flat square of area 4 has energy (a^2 + b^2) * 4.
    stiffness = mesh.cotangent_laplacian(SQUARE, HALVES)
    values = SQUARE.numpy() @ np.array([0.3, -0.7, 0.0])
    assert values @ (stiffness @ values) == pytest.approx(4 * (0.09 + 0.49))
    assert abs(stiffness @ np.ones(4)).max() < 1e-12
    vertices, faces = sphere(10)
    dense = mesh.cotangent_laplacian(vertices, faces).toarray()
    assert np.linalg.eigvalsh(dense).min() > -1e-9


def test_boundary_loops():
    (square,) = mesh.boundary_loops(HALVES)
    at = square.tolist().index(0)
    assert (square.tolist() * 2)[at : at + 4] == [0, 1, 2, 3]
    assert mesh.boundary_loops(TETRA) == []
    _, faces = sphere(6)  # open at both poles
    loops = mesh.boundary_loops(faces)
    assert [len(loop) for loop in loops] == [12, 12]
    assert {int(loop.min()) for loop in loops} == {0, 60}


def test_subdivision_keeps_surface_orientation_and_attributes():
    vertices, faces = sphere(8)
    finer = mesh.subdivide(faces, len(vertices))
    moved = finer.apply(vertices)
    assert torch.equal(moved[: len(vertices)], vertices)
    assert len(moved) == len(vertices) + len(mesh.edges(faces))
    assert finer.faces.dtype == faces.dtype
    # Each child has a quarter of its parent's area vector.
    parents = mesh.face_normals(vertices, faces).repeat_interleave(4, dim=0)
    assert torch.allclose(4 * mesh.face_normals(moved, finer.faces), parents)
    loops = mesh.boundary_loops(finer.faces)
    assert [len(loop) for loop in loops] == [32, 32]


def test_subdivided_uv_faces_stay_in_step():
    uv_faces = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32)  # a seam on the diagonal
    uv = SQUARE[:, :2][HALVES.long().reshape(-1)]
    finer, finer_uv = mesh.subdivide(HALVES, 4), mesh.subdivide(uv_faces, 6)
    position = finer.apply(SQUARE)[finer.faces.long()][..., :2]
    texture = finer_uv.apply(uv)[finer_uv.faces.long()]
    assert torch.equal(position, texture)
