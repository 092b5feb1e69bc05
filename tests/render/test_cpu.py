"""The compiled backend against finite differences, and what is its own: threads, errors."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.render.backend import rasterizer
from hrnfit.render.cpu import CpuRasterizer
from tests.render.scenes import relative, two_spheres


def triangle(*corners: tuple[float, float, float], dtype=torch.float64):
    return torch.tensor([corners], dtype=dtype), torch.tensor([[0, 1, 2]], dtype=torch.int32)


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
