"""In float64 on the CPU: known pixels, the compiled backend against the reference, and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.render.backend import rasterizer
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.reference import ReferenceRasterizer
from tests.render.backends import DOUBLE
from tests.render.scenes import relative, render, two_spheres

BACKENDS = [CpuRasterizer(), ReferenceRasterizer()]


def triangle(*corners: tuple[float, float, float], dtype=torch.float64):
    return torch.tensor([corners], dtype=dtype), torch.tensor([[0, 1, 2]], dtype=torch.int32)


@pytest.mark.parametrize("case", DOUBLE)
def test_covers_exactly_the_centres_inside(case):
    backend = case.make()
    # Hypotenuse x + y = 3.99: centres (0.5, 0.5) .. with i + j + 1 <= 3, at most 3.99.
    points, faces = triangle((0, 0, 5), (3.99, 0, 5), (0, 3.99, 5))
    raster = backend.rasterize(points, faces, 4, 5)
    expected = torch.tensor(
        [[0, 0, 0, -1, -1], [0, 0, -1, -1, -1], [0, -1, -1, -1, -1], [-1] * 5], dtype=torch.int32
    )
    assert torch.equal(raster.triangle[0], expected)
    # At the centre (0.5, 0.5), weights of the second and third corner are 0.5 / 3.99.
    w = 0.5 / 3.99
    assert torch.allclose(raster.barycentric[0, 0, 0], torch.tensor([1 - 2 * w, w, w]).double())
    assert torch.equal(raster.barycentric[0, 3], torch.zeros(5, 3).double())
    assert float(raster.depth[0, 0, 0]) == pytest.approx(5.0)
    assert torch.isinf(raster.depth[0, 3]).all()


@pytest.mark.parametrize("case", DOUBLE)
def test_depth_is_perspective_correct(case):
    backend = case.make()
    # On the screen 1 / z is linear: halfway between depths 1 and 3 it is 1.5.
    points, faces = triangle((0.5, 0.5, 1.0), (4.5, 0.5, 3.0), (0.5, 4.5, 1.0))
    raster = backend.rasterize(points, faces, 5, 5)
    assert float(raster.depth[0, 0, 2]) == pytest.approx(1.5)
    assert float(raster.barycentric[0, 0, 2, 1]) == pytest.approx(0.25)


@pytest.mark.parametrize("case", DOUBLE)
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_nearer_triangle_wins_in_any_order(case, order):
    backend = case.make()
    near, far = [(0, 0, 2), (9, 0, 2), (0, 9, 2)], [(0, 0, 3), (9, 0, 3), (0, 9, 3)]
    points = torch.tensor([near + far], dtype=torch.float32)
    faces = torch.tensor([[0, 1, 2], [5, 4, 3]], dtype=torch.int32)[order]
    raster = backend.rasterize(points, faces, 4, 4)
    assert (raster.triangle == order.index(0)).all()
    assert (raster.depth == 2).all()


@pytest.mark.parametrize("case", DOUBLE)
def test_shared_edges_leave_no_crack_and_no_overlap_matters(case):
    backend = case.make()
    # A fan whose edges run through pixel centres covers every centre of the square.
    square = [(0, 0, 1), (8, 0, 1), (8, 8, 1), (0, 8, 1), (4.5, 3.5, 1)]
    points = torch.tensor([square], dtype=torch.float32)
    faces = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], dtype=torch.int32)
    raster = backend.rasterize(points, faces, 8, 8)
    assert (raster.triangle >= 0).all()


@pytest.mark.parametrize("case", DOUBLE)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -3.0])
def test_unusable_and_absent_triangles_leave_the_view_empty(case, bad):
    backend = case.make()
    points, faces = triangle((0, 0, 5), (4, 0, bad), (0, 4, 5))
    for f in (faces, faces[:0]):
        raster = backend.rasterize(points, f, 4, 4)
        assert (raster.triangle == -1).all()
        assert torch.isinf(raster.depth).all()
        image = torch.rand(1, 4, 4, 2, dtype=torch.float64)
        assert torch.equal(backend.antialias(image, raster, points, f), image)
        assert not backend.interpolate(torch.ones(3, 2).double(), raster, f).any()


@pytest.mark.parametrize("case", DOUBLE)
def test_texture_texel_centres_and_border(case):
    backend = case.make()
    texture = torch.tensor([[[0.0], [10.0]], [[20.0], [30.0]]], dtype=torch.float64)
    at = [[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.0, 0.75], [5.0, -5.0], [0.25, 0.5]]
    got = backend.sample_texture(texture, torch.tensor([[at]], dtype=torch.float64))
    assert got.flatten().tolist() == pytest.approx([0, 10, 15, 20, 10, 10])


@pytest.mark.parametrize("case", DOUBLE)
def test_antialias_moves_a_vertical_edge_linearly(case):
    """A boundary at x = e gives pixel columns their true coverage, and its exact derivative."""
    backend = case.make()
    for edge in (2.1, 2.49, 2.51, 2.9):
        moved = torch.tensor(edge, dtype=torch.float64, requires_grad=True)
        y = torch.tensor([-20.0, 30.0], dtype=torch.float64)
        one = torch.ones((), dtype=torch.float64)
        corners = [[moved, y[0], one], [moved, y[1], one], [-60 * one, 5 * one, one]]
        points = torch.stack([torch.stack(c) for c in corners])[None]
        faces = torch.tensor([[0, 1, 2]], dtype=torch.int32)
        raster = backend.rasterize(points, faces, 4, 6)
        image = (raster.triangle >= 0)[..., None].double()
        out = backend.antialias(image, raster, points, faces)
        expected = torch.tensor([1, 1, edge - 2, 0, 0, 0]).double()
        assert torch.allclose(out[0, 1, :, 0], expected)
        (slope,) = torch.autograd.grad(out[0, 1].sum(), moved)
        assert float(slope) == pytest.approx(1.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rings", [9, 40])  # 40: triangles smaller than a pixel
def test_agrees_with_reference_forward_and_gradient(dtype, tolerance, rings):
    size = 28
    points, faces = two_spheres(rings, size, dtype=dtype)
    random = torch.Generator().manual_seed(1)
    n = points.shape[1]
    leaves = [
        points,
        torch.randn(2, n, 3, generator=random, dtype=dtype),
        torch.rand(n, 2, generator=random, dtype=dtype),
        torch.rand(9, 7, 3, generator=random, dtype=dtype),
        torch.rand(9, 3, generator=random, dtype=dtype),
    ]
    weight = torch.rand(2, size, size, 3, generator=random, dtype=dtype)
    results = []
    for backend in BACKENDS:
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        image, raster = render(backend, *own, faces, size)
        (image * weight).sum().backward()
        results.append([raster.triangle, raster.barycentric, image, *(leaf.grad for leaf in own)])
    assert torch.equal(results[0][0], results[1][0])
    for cpu, reference in zip(*results, strict=True):
        assert relative(cpu, reference) < tolerance


def test_antialias_finds_silhouettes_of_triangles_smaller_than_a_pixel():
    """The blended outline does not depend on how finely the surface is cut."""
    areas = []
    for rings in (24, 60):
        points, faces = two_spheres(rings, 40, views=1)
        backend = CpuRasterizer()
        raster = backend.rasterize(points, faces, 40, 40)
        seen = (raster.triangle >= 0)[..., None].double()
        soft = backend.antialias(seen, raster, points, faces)
        changed = (soft != seen).sum()
        areas.append((float(soft.sum()), int(changed)))
    assert areas[1][1] > 0.7 * areas[0][1]
    assert areas[1][0] == pytest.approx(areas[0][0], rel=0.01)


def test_gradcheck_of_each_operation(generator):
    backend = CpuRasterizer()
    points, faces = two_spheres(5, 8, views=2)
    raster = backend.rasterize(points, faces, 8, 8)
    n = points.shape[1]
    attributes = torch.rand(n, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    own = torch.rand(2, n, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    texture = torch.rand(5, 4, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    uv = torch.rand(2, 3, 4, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    image = torch.rand(2, 8, 8, 1, dtype=torch.float64, generator=generator, requires_grad=True)
    moving = points.clone().requires_grad_()
    checks = [
        (lambda p: backend.rasterize(p, faces, 8, 8).barycentric, (moving,)),
        (lambda a: backend.interpolate(a, raster, faces), (attributes,)),
        (lambda a: backend.interpolate(a, raster, faces), (own,)),
        (backend.sample_texture, (texture, uv)),
        (backend.sample_texture, (torch.stack([texture, 2 * texture]).detach(), uv)),
        (lambda i, p: backend.antialias(i, raster, p, faces), (image, moving)),
    ]
    for function, inputs in checks:
        assert gradcheck(function, inputs, eps=1e-7, atol=1e-5, fast_mode=True)


def test_same_result_bit_for_bit_and_for_any_number_of_threads():
    points, faces = two_spheres(20, 50, views=3, dtype=torch.float32)
    before = torch.get_num_threads()
    gradients = []
    try:
        for threads in (1, 2, 2, 5):
            torch.set_num_threads(threads)
            moving = points.clone().requires_grad_()
            raster = CpuRasterizer().rasterize(moving, faces, 50, 50)
            out = CpuRasterizer().interpolate(points[0], raster, faces)
            out.square().sum().backward()
            gradients.append(moving.grad)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(gradients[1], gradients[2])
    for other in gradients[1:]:
        assert relative(other, gradients[0]) < 1e-6


def test_errors_say_what_to_pass():
    backend = rasterizer("cpu")
    points, faces = triangle((0, 0, 5), (4, 0, 5), (0, 4, 5))
    with pytest.raises(ValueError, match="indices 0 to 2, outside the 2 points"):
        backend.rasterize(points[:, :2], faces, 4, 4)
    raster = backend.rasterize(points, faces, 4, 4)
    with pytest.raises(ValueError, match=r"attributes: expected \(N, C\) or \(1, N, C\)"):
        backend.interpolate(torch.ones(2, 3, 1), raster, faces)
    with pytest.raises(ValueError, match="texture: expected"):
        backend.sample_texture(torch.ones(3, 2, 2, 1), torch.rand(2, 4, 4, 2))


def test_interpolate_refuses_faces_and_points_of_another_mesh():
    backend = CpuRasterizer()
    points, faces = triangle((0, 0, 5), (4, 0, 5), (0, 4, 5))
    raster = backend.rasterize(points, faces, 4, 4)
    with pytest.raises(ValueError, match="faces"):
        backend.interpolate(torch.ones(2, 1), raster, faces)
    with pytest.raises(ValueError, match="faces"):
        backend.interpolate(torch.ones(3, 1), raster, faces[:0])
