"""Every renderer against known pixels and against the reference: one suite, whatever computes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hrnfit.render.reference import ReferenceRasterizer
from tests.render.backends import ALL, EXACT, Case
from tests.render.scenes import relative, render, two_spheres

every = pytest.mark.parametrize("case", ALL)
exact = pytest.mark.parametrize("case", EXACT)


def triangle(case: Case, *corners: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32, device=case.device)
    return torch.tensor([corners], dtype=torch.float32, device=case.device), faces


@every
def test_covers_exactly_the_centres_inside(case):
    # Hypotenuse x + y = 3.9: centres (0.5, 0.5) .. with i + j + 1 <= 3, at most 3.9.
    points, faces = triangle(case, (0, 0, 5), (3.9, 0, 5), (0, 3.9, 5))
    raster = case.make().rasterize(points, faces, 4, 5)
    expected = [[0, 0, 0, -1, -1], [0, 0, -1, -1, -1], [0, -1, -1, -1, -1], [-1] * 5]
    assert raster.triangle.dtype == torch.int32
    assert raster.triangle[0].tolist() == expected
    # At the centre (0.5, 0.5), weights of the second and third corner are 0.5 / 3.9.
    w = 0.5 / 3.9
    assert raster.barycentric[0, 0, 0].tolist() == pytest.approx([1 - 2 * w, w, w], abs=1e-5)
    assert not raster.barycentric[0, 3].any()
    assert float(raster.depth[0, 0, 0]) == pytest.approx(5.0)
    assert torch.isinf(raster.depth[0, 3]).all()


@every
def test_depth_is_perspective_correct(case):
    # Screen weights at (2.5, 0.5): 3/8, 9/16, 1/16. 1 / z = 3/8 + 9/16 / 3 + 1/16 = 5/8.
    points, faces = triangle(case, (0.25, 0.25, 1.0), (4.25, 0.25, 3.0), (0.25, 4.25, 1.0))
    raster = case.make().rasterize(points, faces, 5, 5)
    assert float(raster.depth[0, 0, 2]) == pytest.approx(1.6)
    assert raster.barycentric[0, 0, 2].tolist() == pytest.approx([0.6, 0.3, 0.1])


@every
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_nearer_triangle_wins_in_any_order(case, order):
    near, far = [(0, 0, 2), (9, 0, 2), (0, 9, 2)], [(0, 0, 3), (9, 0, 3), (0, 9, 3)]
    points = torch.tensor([near + far], dtype=torch.float32, device=case.device)
    faces = torch.tensor([[0, 1, 2], [5, 4, 3]], dtype=torch.int32, device=case.device)[order]
    raster = case.make().rasterize(points, faces, 4, 4)
    assert (raster.triangle == order.index(0)).all()
    assert torch.allclose(raster.depth, torch.full_like(raster.depth, 2.0))


@exact
def test_of_equal_depths_the_lower_index_wins(case):
    points, _ = triangle(case, (0, 0, 2), (9, 0, 2), (0, 9, 2))
    faces = torch.tensor([[1, 2, 0], [0, 1, 2], [2, 1, 0]], dtype=torch.int32, device=case.device)
    assert not case.make().rasterize(points, faces, 4, 4).triangle.any()


@every
def test_shared_edges_leave_no_crack(case):
    # A fan whose edges run through pixel centres covers every centre of the square.
    square = [(0, 0, 1), (8, 0, 1), (8, 8, 1), (0, 8, 1), (4.5, 3.5, 1)]
    points = torch.tensor([square], dtype=torch.float32, device=case.device)
    faces = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], dtype=torch.int32)
    raster = case.make().rasterize(points, faces.to(case.device), 8, 8)
    assert (raster.triangle >= 0).all()


@every
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -3.0])
def test_unusable_and_absent_triangles_leave_the_view_empty(case, bad):
    points, faces = triangle(case, (0, 0, 5), (4, 0, bad), (0, 4, 5))
    backend = case.make()
    for f in (faces, faces[:0].clone()):
        raster = backend.rasterize(points, f, 4, 4)
        assert (raster.triangle == -1).all()
        assert torch.isinf(raster.depth).all()
        image = torch.rand(1, 4, 4, 2, device=case.device)
        assert torch.equal(backend.antialias(image, raster, points, f), image)
        assert not backend.interpolate(torch.ones(3, 2, device=case.device), raster, f).any()


@every
def test_texture_texel_centres_and_border(case):
    texture = torch.tensor([[[0.0], [10.0]], [[20.0], [30.0]]], device=case.device)
    at = [[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.0, 0.75], [5.0, -5.0], [0.25, 0.5]]
    got = case.make().sample_texture(texture, torch.tensor([[at]], device=case.device))
    assert got.flatten().tolist() == pytest.approx([0, 10, 15, 20, 10, 10], rel=1e-2)


@every
@pytest.mark.parametrize("edge", [2.1, 2.4, 2.6, 2.9])
def test_antialias_moves_a_vertical_edge_linearly(case, edge):
    """A boundary at x = e gives pixel columns their true coverage, and its exact derivative."""
    backend = case.make()
    moved = torch.tensor(edge, requires_grad=True, device=case.device)
    y = torch.tensor([-20.0, 30.0], device=case.device)
    one = torch.ones((), device=case.device)
    corners = [[moved, y[0], one], [moved, y[1], one], [-60 * one, 5 * one, one]]
    points = torch.stack([torch.stack(c) for c in corners])[None]
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32, device=case.device)
    raster = backend.rasterize(points, faces, 4, 6)
    image = (raster.triangle >= 0)[..., None].float()
    out = backend.antialias(image, raster, points, faces)
    assert out[0, 1, :, 0].tolist() == pytest.approx([1, 1, edge - 2, 0, 0, 0], abs=1e-4)
    (slope,) = torch.autograd.grad(out[0, 1].sum(), moved)
    assert float(slope) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("case", EXACT[1:])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rings", [7, 25])  # 25: triangles smaller than a pixel, none equally deep
def test_agrees_with_reference_forward_and_gradient(case, dtype, tolerance, rings, generator):
    size = 20
    points, faces = two_spheres(rings, size, dtype=dtype)
    n = points.shape[1]
    leaves = [
        points,
        torch.randn(2, n, 3, generator=generator, dtype=dtype),
        torch.rand(n, 2, generator=generator, dtype=dtype),
        torch.rand(9, 7, 3, generator=generator, dtype=dtype),
        torch.rand(9, 3, generator=generator, dtype=dtype),
    ]
    weight = torch.rand(2, size, size, 3, generator=generator, dtype=dtype)
    results = []
    for backend, device in ((case.make(), case.device), (ReferenceRasterizer(), "cpu")):
        own = [leaf.to(device, copy=True).requires_grad_() for leaf in leaves]
        image, raster = render(backend, *own, faces.to(device), size)
        (image * weight.to(device)).sum().backward()
        found = [raster.triangle, raster.barycentric, image, *(leaf.grad for leaf in own)]
        results.append([value.detach().cpu() for value in found])
    assert torch.equal(results[0][0], results[1][0])
    for got, wanted in zip(*results, strict=True):
        assert relative(got, wanted) < tolerance


@every
def test_sixteen_views_and_sizes_after_each_other(case):
    backend = case.make()
    faces = two_spheres(6, 20)[1].to(case.device)
    for height, width, views in ((21, 16, 16), (9, 40, 2)):
        points = two_spheres(6, 20, views, dtype=torch.float32)[0]
        expected = ReferenceRasterizer().rasterize(points, faces.cpu(), height, width)
        raster = backend.rasterize(points.to(case.device), faces, height, width)
        same = raster.triangle.cpu() == expected.triangle
        assert (~same).float().mean() <= case.other_pixels
        assert relative(raster.barycentric.cpu()[same], expected.barycentric[same]) < case.tolerance
        seen = same & (expected.triangle >= 0)
        assert relative(raster.depth.cpu()[seen], expected.depth[seen]) < case.tolerance


@every
def test_vertices_that_cannot_be_drawn_take_only_their_triangles_along(case):
    points, faces = two_spheres(7, 32, dtype=torch.float32)
    points[0, 3], points[0, 40, 0] = float("nan"), float("inf")
    points[1, 30, 2], points[1, 31, 2], points[1, 60] = -20.0, 0.0, points[1, 61]
    unusable = ~(torch.isfinite(points).all(-1) & (points[..., 2] > 0))
    backend = case.make()
    expected = ReferenceRasterizer().rasterize(points, faces, 32, 32)
    moving = points.to(case.device, copy=True).requires_grad_()
    own = faces.to(case.device)
    raster = backend.rasterize(moving, own, 32, 32)
    same = raster.triangle.cpu() == expected.triangle
    assert (~same).float().mean() <= 2 * case.other_pixels
    for view in range(2):
        seen = raster.triangle[view].cpu().unique().clamp_min(0).long()
        assert not unusable[view][faces.long()[seen]].any()
    image = backend.antialias(raster.barycentric, raster, moving, own)
    assert torch.isfinite(image).all()
    image.square().sum().backward()
    assert torch.isfinite(moving.grad).all()
    assert not moving.grad.cpu()[unusable].any()


@exact
def test_corners_beyond_any_integer_and_triangles_over_the_whole_image(case):
    """Bounding boxes are cut to the image before they are counted; large ones hide behind nothing."""
    far, near = (-1e30, -1e30, 9.0), (-100, -50, 4.0)
    corners = [far, (1e30, -1e30, 9), (0, 1e30, 9), near, (130, -50, 4), (20, 200, 4.0)]
    points = torch.tensor([corners], device=case.device)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32, device=case.device)
    raster = case.make().rasterize(points, faces, 40, 40)
    assert (raster.triangle == 1).all()
    assert (case.make().rasterize(points, faces[:1].clone(), 40, 40).triangle == 0).all()
