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
    backends = ((NvdiffrastRasterizer(), "cuda"), (ReferenceRasterizer(), "cpu"))
    raster, expected = (b.rasterize(points.to(d), faces.to(d), *size) for b, d in backends)
    same = raster.triangle.cpu() == expected.triangle
    # Corners are rounded to 1/16 px before coverage, so pixels beside edges go to the other triangle:
    # 1 % of the pixels of 5 px triangles. Of the sliver at a sphere's edge one such pixel can have a
    # gradient larger than all others together, so derivatives are compared where both see the same.
    assert same.float().mean() > 0.985
    assert relative(raster.barycentric.cpu()[same], expected.barycentric[same]) < 1e-5
    seen = same & (expected.triangle >= 0)
    assert relative(raster.depth.cpu()[seen], expected.depth[seen]) < 1e-6
    results = []
    for backend, device in backends:
        own = points.to(device, copy=True).requires_grad_()
        values = attributes.to(device, copy=True).requires_grad_()
        out = backend.interpolate(
            values, backend.rasterize(own, faces.to(device), *size), faces.to(device)
        )
        (out.square() * same.to(device)[..., None]).sum().backward()
        results.append((out.detach().cpu(), own.grad.cpu(), values.grad.cpu()))
    (out, *gradients), (wanted_out, *wanted_gradients) = results
    assert relative(out[same], wanted_out[same]) < 1e-5
    for got, wanted in zip(gradients, wanted_gradients, strict=True):
        assert relative(got, wanted) < 1e-3


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
    # nvdiffrast blends only across edges of a pixel's own triangle, and rounds corners to 1/16 px: on
    # this coarse image 0.08 apart (0.03 at 256 px), all of it along silhouettes and edges.
    assert relative(results[0][0], results[1][0]) < 0.1
    least = (0.9, 0.999, 0.995, 0.999, 0.999)  # points get their gradient from silhouettes alone
    for got, wanted, cosine in zip(results[0][1:], results[1][1:], least, strict=True):
        assert (
            torch.nn.functional.cosine_similarity(got.flatten(), wanted.flatten(), dim=0) > cosine
        )
