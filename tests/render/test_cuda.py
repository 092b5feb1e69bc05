"""What is the CUDA renderer's own: derivatives by its kernels and by plain formulas, its tables, its errors.

Without a GPU the kernels run in Triton's interpreter; `test_backends` compares them with the reference.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="the optional package triton is not installed")

from hrnfit.render import cuda
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.cuda import CudaRasterizer
from hrnfit.render.cuda_shade import Normalize, Shade, basis
from hrnfit.render.cuda_silhouette import _pairs
from hrnfit.render.rasterizer import Raster
from hrnfit.render.reference import _silhouette_pairs
from hrnfit.render.shade import (
    DIFFERENCE,
    LINEAR,
    PRODUCT,
    ZONAL,
    plain_basis,
    plain_normalize,
    plain_shade,
    shade,
)
from hrnfit.render.silhouette import edge_topology
from hrnfit.render.texture import uv_interpolate
from hrnfit.solve.recorded import replayed
from tests.render.scenes import relative, render, two_spheres
from tests.render.test_twice import FACES, POINTS

# the interpreter computes masked lanes, too
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
OURS = CudaRasterizer()
needs_gpu = pytest.mark.skipif(not GPU, reason="torch sees no CUDA device")


def random(generator: torch.Generator, *shape: int) -> Tensor:
    values = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return values.to(DEVICE).requires_grad_()


def operations(generator: torch.Generator) -> dict:
    """Name to (operation, inputs), each with derivatives in all inputs."""
    faces = FACES.to(DEVICE)
    points = POINTS.to(DEVICE, copy=True).requires_grad_()
    raster = OURS.rasterize(points.detach(), faces, 8, 8)
    constants = (LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    weights = raster.barycentric.clone().requires_grad_()
    uv = torch.rand(1, 3, 4, 2, generator=generator).double().to(DEVICE).requires_grad_()

    def interpolate(attributes: Tensor, barycentric: Tensor) -> Tensor:
        return OURS.interpolate(
            attributes, Raster(raster.triangle, barycentric, raster.depth), faces
        )

    return {
        "rasterize": (lambda p: OURS.rasterize(p, faces, 8, 8).barycentric, (points,)),
        "interpolate": (interpolate, (random(generator, 1, 6, 2), weights)),
        "interpolate 17 channels": (interpolate, (random(generator, 6, 17), weights)),
        "sample_texture": (OURS.sample_texture, (random(generator, 5, 4, 2), uv)),
        "antialias": (
            lambda image, p: OURS.antialias(image, raster, p, faces),
            (random(generator, 1, 8, 8, 2), points),
        ),
        "safe_normalize": (Normalize.apply, (random(generator, 4, 3),)),
        "shade": (
            lambda n, light: Shade.apply(n, light, constants),
            (random(generator, 2, 5, 3), random(generator, 2, 9, 3)),
        ),
    }


@pytest.mark.parametrize("name", operations(torch.Generator()))
def test_derivatives_by_kernels_are_those_of_plain_formulas(name, generator):
    operation, values = operations(generator)[name]
    pattern = random(generator, *operation(*values).shape).detach()
    kernels = torch.autograd.grad(operation(*values), values, pattern)
    plain = torch.autograd.grad(operation(*values), values, pattern, create_graph=True)
    for one, other in zip(kernels, plain, strict=True):
        assert one.any()
        assert other.requires_grad
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_second_derivatives_pass_through_values_that_are_not_contiguous(generator):
    """What is saved for the second derivative must hang on the graph, also behind a copy."""
    faces = FACES.to(DEVICE)
    points = POINTS.to(DEVICE).mT.contiguous().requires_grad_()

    def slope(p: Tensor, again: bool) -> Tensor:
        raster = OURS.rasterize(p.mT, faces, 8, 8)
        return torch.autograd.grad(raster.barycentric.pow(3).sum(), p, create_graph=again)[0]

    direction = random(generator, *points.shape).detach()
    (second,) = torch.autograd.grad((slope(points, True) * direction).sum(), points)
    h = 1e-6
    ahead, behind = (
        slope((points.detach() + s * h * direction).requires_grad_(), False) for s in (1.0, -1.0)
    )
    assert relative(second, (ahead - behind) / (2 * h)) < 1e-5


def test_unit_vectors_and_shading_are_those_of_plain_torch(generator):
    normals, light = random(generator, 2, 7, 3).detach(), random(generator, 2, 9, 3).detach()
    normals[0, 0] = 0
    unit = Normalize.apply(normals.reshape(-1, 3)).reshape(normals.shape)
    assert not unit[0, 0].any()
    assert torch.allclose(unit, plain_normalize(normals))
    lit = Shade.apply(unit, light, (LINEAR, PRODUCT, ZONAL, DIFFERENCE))
    assert torch.allclose(lit, plain_shade(unit, light))
    assert torch.allclose(shade(unit, light), lit)


def test_zero_vectors_have_a_zero_gradient():
    zero = torch.zeros(2, 3, device=DEVICE, requires_grad=True)
    (grad,) = torch.autograd.grad(Normalize.apply(zero).sum(), zero)
    assert not grad.any()


def test_one_raster_serves_all_views(generator):
    """An expanded raster, as that of a chart, gives each view what a copy of its own would."""
    points, faces = two_spheres(5, 12, views=1)
    points, faces = points.to(DEVICE), faces.to(DEVICE)
    one = OURS.rasterize(points, faces, 12, 12)
    both = Raster(
        one.triangle.expand(2, -1, -1),
        one.barycentric.expand(2, -1, -1, -1),
        one.depth.expand(2, -1, -1),
    )
    copied = Raster(both.triangle.clone(), both.barycentric.clone(), both.depth.clone())
    attributes = random(generator, 2, points.shape[1], 2)
    results = []
    for raster in (both, copied):
        out = OURS.interpolate(attributes, raster, faces)
        results.append((out, *torch.autograd.grad(out.square().sum(), attributes)))
    for shared, own in zip(*results, strict=True):
        assert relative(shared, own) < 1e-12
    cpu = CpuRasterizer().interpolate(
        attributes.cpu(), Raster(*(x.cpu() for x in vars(copied).values())), faces.cpu()
    )
    assert relative(results[0][0].cpu(), cpu) < 1e-12


def test_a_topology_is_kept_as_long_as_its_faces():
    points, faces = two_spheres(4, 8, views=1)
    points, faces = points.to(DEVICE), faces.to(DEVICE)
    before = cuda.mesh_of(faces, points)
    assert cuda.mesh_of(faces, points) is before
    faces += 0  # changed in place: looked at again
    assert cuda.mesh_of(faces, points) is not before
    gone = weakref.ref(before)
    del faces, before
    gc.collect()
    assert gone() is None


def test_errors_say_what_to_pass(monkeypatch):
    points, faces = two_spheres(4, 8, views=1)
    points, faces = points.to(DEVICE), faces.to(DEVICE)
    with pytest.raises(ValueError, match=r"indices 0 to \d+, outside the 2 points"):
        OURS.rasterize(points[:, :2], faces, 4, 4)
    raster = OURS.rasterize(points, faces, 4, 4)
    with pytest.raises(ValueError, match=r"attributes: expected \(N, C\) or \(1, N, C\)"):
        OURS.interpolate(points.expand(2, -1, -1), raster, faces)
    texture = torch.ones(3, 2, 2, 1, device=DEVICE)
    with pytest.raises(ValueError, match="texture: expected"):
        OURS.sample_texture(texture, torch.rand(2, 4, 4, 2, device=DEVICE))
    monkeypatch.setattr(cuda, "INTERPRETED", False)
    with pytest.raises(ValueError, match=r"values on cpu; move them to a CUDA device"):
        OURS.rasterize(points.cpu(), faces.cpu(), 4, 4)


@needs_gpu
def test_a_recorded_render_is_the_plain_one(generator):
    """The whole chain with its derivatives as one CUDA graph, replayed for other points and sizes."""
    for size in (48, 40):
        points, faces = two_spheres(9, size, dtype=torch.float32)
        n, faces = points.shape[1], faces.cuda()
        shapes = ((2, n, 3), (n, 2), (16, 16, 3), (9, 3))
        fixed = [torch.rand(s, generator=generator).cuda() for s in shapes]

        def chain(points: Tensor, light: Tensor, fixed=fixed, faces=faces, size=size):
            image, _ = render(OURS, points, *fixed[:3], light, faces, size)
            return image, *torch.autograd.grad(image.square().sum(), (points, light))

        for shift in (0.0, 0.4):
            leaves = ((points + shift).cuda().requires_grad_(), fixed[3].clone().requires_grad_())
            plain = [value.clone() for value in chain(*leaves)]
            for got, wanted in zip(replayed(("render", size), chain, leaves), plain, strict=True):
                assert relative(got, wanted) < 1e-5


@needs_gpu
def test_chart_values_on_a_gpu_are_those_of_the_cpu(generator):
    from hrnfit.render.texture import uv_raster

    points, faces = two_spheres(5, 12, views=1)
    uv = points[0, :, :2] / 12
    chart = uv_raster(uv, faces, faces, 20, 20)
    values = torch.rand(3, len(uv), 3, generator=generator).double()
    got = uv_interpolate(values.cuda(), chart.to("cuda"))
    assert relative(got.cpu(), uv_interpolate(values, chart)) < 1e-12


@needs_gpu
def test_many_triangles_over_a_large_image_are_shared_by_all_programs(generator):
    corners = torch.rand(2, 60, 3, generator=generator) * torch.tensor([3000.0, 3000.0, 500.0])
    points = corners + torch.tensor([-900.0, -900.0, 10.0])
    faces = torch.randint(0, 60, (300, 3), generator=generator).int()
    got = OURS.rasterize(points.cuda(), faces.cuda(), 700, 900)
    expected = CpuRasterizer().rasterize(points, faces, 700, 900)
    assert torch.equal(got.triangle.cpu(), expected.triangle)


def test_the_harmonics_of_normals(generator):
    normals = random(generator, 2, 5, 3).detach()
    constants = (LINEAR, PRODUCT, ZONAL, DIFFERENCE)
    torch.testing.assert_close(basis(normals, constants), plain_basis(normals), atol=1e-12, rtol=0)


def test_the_pairs_that_blend_are_listed_once_each_and_are_those_of_the_reference():
    """What the reference finds by walking from all pixels: pixel on the surface, pixel beyond, edge and axis."""
    points, faces = two_spheres(12, 40)
    own, there = points.to(DEVICE, copy=True).requires_grad_(), faces.to(DEVICE)
    raster = OURS.rasterize(own.detach(), there, 40, 40)
    hit = (raster.triangle >= 0)[..., None].to(own.dtype)
    image = OURS.antialias(hit, raster, own, there)
    blended: Any = image.grad_fn  # lives as long as the image does
    found = _pairs(blended.saved_tensors, blended.tables)
    for view in range(2):
        seen = raster.triangle[view].cpu(), raster.depth[view].cpu()
        edges = edge_topology(faces.numpy())
        wanted = _silhouette_pairs(points[view], faces, *seen, edges).tolist()
        assert len(wanted) > 25
        assert sorted(found[view].tolist()) == sorted(wanted)
    # a pair that was listed twice would be one of `found`, but blend twice
    assert int(blended.saved_tensors[4][1]) == sum(map(len, found))
