"""nvdiffrast against the reference, forward and gradient; needs CUDA and the package."""

from __future__ import annotations

import pytest
import torch

from hrnfit.render.nvdiffrast import NvdiffrastRasterizer, clip_from_points
from hrnfit.render.reference import ReferenceRasterizer
from tests.render.scenes import relative, render, two_spheres

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def test_clip_space_puts_pixels_where_they_are():
    """Centre of pixel (c, r): x / w = 2 (c + 0.5) / W - 1, row 0 at the low end; depth ordered."""
    points = torch.tensor([[[0.5, 0.5, 300.0], [6.0, 2.0, 200.0], [3.0, 4.0, 900.0]]])
    clip = clip_from_points(points, 4, 6)
    ndc = clip[..., :3] / clip[..., 3:]
    expected = torch.tensor([[-1 + 1 / 6, -0.75], [1.0, 0.0], [0.0, 1.0]])
    assert torch.allclose(ndc[0, :, :2], expected)
    assert ndc[0, 1, 2] < ndc[0, 0, 2] < ndc[0, 2, 2]
    assert ndc[..., 2].abs().max() <= 1


@needs_gpu
@pytest.mark.parametrize("size", [(64, 64), (61, 45)])
def test_raster_and_derivatives_agree(size):
    pytest.importorskip("nvdiffrast", reason="the optional package nvdiffrast is not installed")
    points, faces = two_spheres(9, 45, dtype=torch.float32)
    attributes = torch.rand(points.shape[1], 3, generator=torch.Generator().manual_seed(0))
    results = []
    for backend, device in ((NvdiffrastRasterizer(), "cuda"), (ReferenceRasterizer(), "cpu")):
        own = points.to(device).requires_grad_()
        values = attributes.to(device).requires_grad_()
        raster = backend.rasterize(own, faces.to(device), *size)
        out = backend.interpolate(values, raster, faces.to(device))
        out.square().sum().backward()
        results.append((raster, out.detach().cpu(), own.grad.cpu(), values.grad.cpu()))
    (raster, out, to_points, to_values), (expected, *rest) = results
    same = raster.triangle.cpu() == expected.triangle
    assert same.float().mean() > 0.998  # pixels on edges may go to the other triangle
    assert relative(raster.barycentric.cpu()[same], expected.barycentric[same]) < 1e-3
    seen = same & (expected.triangle >= 0)
    assert relative(raster.depth.cpu()[seen], expected.depth[seen]) < 1e-5
    assert relative(out[same], rest[0][same]) < 1e-3
    for got, wanted in ((to_points, rest[1]), (to_values, rest[2])):
        cosine = torch.nn.functional.cosine_similarity(got.flatten(), wanted.flatten(), dim=0)
        assert cosine > 0.99
        assert relative(got, wanted) < 0.1


@needs_gpu
def test_texture_agrees(generator):
    pytest.importorskip("nvdiffrast", reason="the optional package nvdiffrast is not installed")
    texture = torch.rand(9, 7, 3, generator=generator)
    uv = 1.4 * torch.rand(2, 16, 16, 2, generator=generator) - 0.2
    backend = NvdiffrastRasterizer()
    gradients = []
    for one, device in ((backend, "cuda"), (ReferenceRasterizer(), "cpu")):
        t, c = texture.to(device).requires_grad_(), uv.to(device).requires_grad_()
        out = one.sample_texture(t, c)
        out.square().sum().backward()
        gradients.append([out.detach().cpu(), t.grad.cpu(), c.grad.cpu()])
    for got, wanted in zip(*gradients, strict=True):
        assert relative(got, wanted) < 1e-3


@needs_gpu
def test_whole_render_with_silhouettes_agrees_as_a_vector(generator):
    """Triangles larger than a pixel, where both find the same silhouettes."""
    pytest.importorskip("nvdiffrast", reason="the optional package nvdiffrast is not installed")
    size = 64
    points, faces = two_spheres(7, size, dtype=torch.float32)
    n = points.shape[1]
    leaves = [
        points,
        torch.randn(2, n, 3, generator=generator),
        torch.rand(n, 2, generator=generator),
        torch.rand(16, 16, 3, generator=generator),
        torch.rand(9, 3, generator=generator),
    ]
    weight = torch.rand(2, size, size, 3, generator=generator)
    results = []
    for backend, device in ((NvdiffrastRasterizer(), "cuda"), (ReferenceRasterizer(), "cpu")):
        own = [leaf.to(device).requires_grad_() for leaf in leaves]
        image, _ = render(backend, *own, faces.to(device), size)
        (image * weight.to(device)).sum().backward()
        results.append([image.detach().cpu(), *(leaf.grad.cpu() for leaf in own)])
    assert relative(results[0][0], results[1][0]) < 0.03
    for got, wanted in zip(results[0][1:], results[1][1:], strict=True):
        cosine = torch.nn.functional.cosine_similarity(got.flatten(), wanted.flatten(), dim=0)
        assert cosine > 0.95
