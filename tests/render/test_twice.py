"""Derivatives of the compiled renderer that are differentiated again: agreement, and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradgradcheck

from hrnfit.geometry.mesh import gathered_vertex_normals, vertex_normals
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.shade import plain_normalize, plain_shade, safe_normalize, shade
from tests.render.scenes import relative, render, two_spheres

DOUBLE = {"dtype": torch.float64}
CPU = CpuRasterizer()
FACES = torch.tensor([[0, 1, 2], [3, 5, 4]], dtype=torch.int32)
POINTS = torch.tensor(
    [[[0.2, 0.3, 5], [6.7, 1.1, 7], [1.3, 6.6, 6], [2.2, 2.6, 4], [7.1, 3.2, 4.4], [3.1, 7.3, 5]]],
    **DOUBLE,
)
"""Two triangles of 8 px, one before the other's edge."""
RASTER = CPU.rasterize(POINTS, FACES, 8, 8)


def random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, **DOUBLE).requires_grad_()


def barycentric(points: torch.Tensor) -> torch.Tensor:
    return CPU.rasterize(points, FACES, 8, 8).barycentric


def antialias(image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return CPU.antialias(image, RASTER, points, FACES)


def interpolate(attributes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    raster = type(RASTER)(RASTER.triangle, weights, RASTER.depth)
    return CPU.interpolate(attributes, raster, FACES)


def inputs(generator: torch.Generator) -> dict:
    points = POINTS.clone().requires_grad_()
    weights = RASTER.barycentric.clone().requires_grad_()
    uv = torch.rand(1, 3, 4, 2, generator=generator, **DOUBLE).requires_grad_()
    return {
        "rasterize": (barycentric, (points,)),
        "interpolate": (interpolate, (random(generator, 1, 6, 2), weights)),
        "sample_texture": (CPU.sample_texture, (random(generator, 5, 4, 2), uv)),
        "antialias": (antialias, (random(generator, 1, 8, 8, 2), points)),
        "safe_normalize": (safe_normalize, (random(generator, 4, 3),)),
        "shade": (shade, (random(generator, 2, 5, 3), random(generator, 2, 9, 3))),
        "vertex_normals": (lambda v: vertex_normals(v, FACES), (random(generator, 2, 6, 3),)),
    }


OPERATIONS = (*inputs(torch.Generator()),)


@pytest.mark.parametrize("name", OPERATIONS)
def test_second_derivatives_against_finite_differences(name, generator):
    operation, values = inputs(generator)[name]
    assert gradgradcheck(operation, values, fast_mode=True)


@pytest.mark.parametrize("name", OPERATIONS)
def test_first_derivatives_are_those_of_the_compiled_loops(name, generator):
    operation, values = inputs(generator)[name]
    pattern = random(generator, *operation(*values).shape).detach()
    loops = torch.autograd.grad(operation(*values), values, pattern)
    plain = torch.autograd.grad(operation(*values), values, pattern, create_graph=True)
    for one, other in zip(loops, plain, strict=True):
        assert other.requires_grad
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_plain_formulas_are_those_of_the_compiled_loops(generator):
    normals, light, points = (random(generator, 2, 4, 3) for _ in range(3))
    light = random(generator, 2, 9, 3)
    assert torch.allclose(plain_shade(normals, light), shade(normals, light))
    assert torch.allclose(plain_normalize(normals), safe_normalize(normals))
    points = random(generator, 2, 6, 3)
    assert torch.allclose(gathered_vertex_normals(points, FACES), vertex_normals(points, FACES))


def test_zero_vectors_stay_safe_twice():
    zero = torch.zeros(2, 3, **DOUBLE, requires_grad=True)
    (first,) = torch.autograd.grad(safe_normalize(zero).sum(), zero, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), zero)
    assert not first.any()
    assert not second.any()


def test_the_whole_chain_counts_each_path_once(generator):
    """Points reach the image through the weights and through the silhouettes; by both derivatives the
    same, and the second one along a line as the first one changes."""
    points, faces = two_spheres(6, 16, views=1)
    texture = torch.rand(4, 4, 3, generator=generator, **DOUBLE)
    light, pattern = (
        torch.rand(s, generator=generator, **DOUBLE) for s in ((9, 3), (1, 16, 16, 3))
    )
    normals = torch.randn(1, points.shape[1], 3, generator=generator, **DOUBLE)
    uv = torch.rand(1, points.shape[1], 2, generator=generator, **DOUBLE)

    def slope(at: torch.Tensor, again: bool) -> torch.Tensor:
        image, _ = render(CPU, at, normals, uv, texture, light, faces, 16)
        return torch.autograd.grad((image * pattern).sum(), at, create_graph=again)[0]

    start = points.clone().requires_grad_()
    assert relative(slope(start, True), slope(start, False)) < 1e-10
    direction = torch.randn(points.shape, generator=generator, **DOUBLE)
    (second,) = torch.autograd.grad((slope(start, True) * direction).sum(), start)
    h = 1e-6
    ahead, behind = (
        slope((points + s * h * direction).requires_grad_(), False) for s in (1.0, -1.0)
    )
    assert relative(second, (ahead - behind) / (2 * h)) < 1e-5
