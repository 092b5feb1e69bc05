"""The outline's kernels on a sphere, whose contour is known, against the plain terms; in Triton's interpreter or on a device."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hrnfit.energy import pixel_kernels
from hrnfit.energy.contour import NearestContour, edges_of_views, mm_per_pixel
from hrnfit.energy.fused_total import Weighted, fused_total
from hrnfit.energy.fused_views import (
    Outlined,
    Photographed,
    contour_group,
    outline_band,
    outline_of,
    seen_group,
)
from hrnfit.energy.occluding import silhouette, uncovered
from hrnfit.energy.photometric import Photometric
from hrnfit.energy.silhouette import Silhouette
from hrnfit.energy.term import reduce
from hrnfit.geometry.launched import INTERPRETED
from tests.energy.scene import (
    ball,
    disc_mask,
    outline_radius,
    prediction,
    project,
    sphere,
    working_views,
)

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

SIZE, RADIUS = 64, 20.0
FACES = sphere()[1].to(DEVICE)


def seen(kept: int = len(FACES)):
    """A sphere 1 px too large for its mask, with a lens twice as long; `kept` of its triangles."""
    disc = disc_mask(SIZE, outline_radius(RADIUS))
    points = project(ball(RADIUS, (1.0, 0.5)), SIZE)[None].to(DEVICE).requires_grad_()
    scene = prediction(points, FACES[:kept], SIZE, disc.to(DEVICE) > 0.5)
    scene.coverage = disc.to(DEVICE, copy=True).requires_grad_()
    views = working_views(disc_mask(SIZE, outline_radius(RADIUS) - 1.0).to(DEVICE))
    return scene, views, mm_per_pixel(scene, views)[:, 0]


@pytest.mark.parametrize("kept", [len(FACES), len(FACES) - 300])
def test_the_outline_is_that_of_the_plain_search(kept):
    scene, _, _ = seen(kept)
    plain = silhouette(scene.points, scene.model.faces)
    covered = scene.raster.triangle >= 0
    outer = plain.mask & uncovered(covered, scene.points, plain.outward)
    found, planes = outline_of(scene.points, scene.model.faces, scene.raster.triangle)
    assert plain.mask.sum() > 20
    assert torch.equal(found[..., 0] > 0, plain.mask)
    assert torch.allclose(found[..., 1:3], plain.outward, atol=1e-9)
    assert torch.equal(found[..., 3] > 0, outer)
    assert bool(planes[1].any()) == (kept < len(FACES))  # a closed mesh ends nowhere


@pytest.mark.parametrize("kernel", ["huber", "abs"])
def test_contour_energy_and_gradient(kernel):
    term = NearestContour()
    scene, views, mm = seen()
    plain = reduce(term.residuals(scene, views), kernel)
    (by_plain,) = torch.autograd.grad(plain, scene.points)
    outline, _ = outline_of(scene.points, scene.model.faces, scene.raster.triangle)
    limits = (term.reach, term.agreement, term.pull_in)
    weighted = Weighted("contour", kernel, 1.0)
    edges = edges_of_views(views)[0]
    fused, _ = fused_total([contour_group(weighted, scene.points, outline, edges, mm, limits)])
    (by_fused,) = torch.autograd.grad(fused, scene.points)
    assert plain.item() > 0.01
    assert torch.allclose(fused, plain, rtol=1e-5)
    assert torch.allclose(by_fused, by_plain, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("kept", [len(FACES), len(FACES) - 300])
def test_silhouette_energy_and_gradient(kept):
    term, radius = Silhouette(band=0.05), round(0.05 * SIZE)
    scene, views, mm = seen(kept)
    plain = reduce(term.residuals(scene, views), "abs")
    (by_plain,) = torch.autograd.grad(plain, scene.coverage)
    _, planes = outline_of(scene.points, scene.model.faces, scene.raster.triangle)
    edges = edges_of_views(views)[0]
    line = Outlined(outline_band(planes, radius), edges.valid, mm, radius)
    asked = (Weighted("silhouette", "abs", 1.0), line)
    fused, _ = fused_total([seen_group(scene.coverage[..., None], views.masks, None, asked)])
    (by_fused,) = torch.autograd.grad(fused, scene.coverage)
    assert plain.item() > 0.1
    assert torch.allclose(fused, plain, rtol=1e-5)
    assert torch.allclose(by_fused, by_plain, rtol=1e-4, atol=1e-9)


def test_colour_and_coverage_of_one_image_together(generator):
    """As in a stage: four channels, both terms, factors and kernels of their own."""
    term, radius = Silhouette(band=0.05), round(0.05 * SIZE)
    scene, views, mm = seen()

    def random(channels: int) -> torch.Tensor:
        return torch.rand(1, SIZE, SIZE, channels, generator=generator).to(DEVICE)

    views = replace(views, images=random(3).to(views.images))
    image, normals = (
        random(4).requires_grad_(),
        torch.nn.functional.normalize(random(3) - 0.5, dim=-1),
    )
    scene.image, scene.coverage, scene.normals = image[..., :3], image[..., 3], normals
    scene.projection = SimpleNamespace(T_cam_world=views.T_cam_world)
    light = reduce(Photometric(least_cosine=0.1).residuals(scene, views), "abs")
    edge = reduce(term.residuals(scene, views), "huber")
    (by_plain,) = torch.autograd.grad(0.7 * light + 1.3 * edge, image)
    band = outline_band(
        outline_of(scene.points, scene.model.faces, scene.raster.triangle)[1], radius
    )
    shaded = Photographed(views.images, normals, scene.raster.triangle, views.T_cam_world, 0.1)
    outlined = Outlined(band, edges_of_views(views)[0].valid, mm, radius)
    colour, coverage = (
        (Weighted("light", "abs", 0.7), shaded),
        (Weighted("edge", "huber", 1.3), outlined),
    )
    total, energies = fused_total([seen_group(image, views.masks, colour, coverage)])
    (by_fused,) = torch.autograd.grad(total, image)
    assert torch.allclose(energies["light"], light.to(total), rtol=1e-5)
    assert torch.allclose(energies["edge"], edge.to(total), rtol=1e-5)
    assert light.item() > 0.05
    assert edge.item() > 0.05
    assert torch.allclose(by_fused, by_plain, rtol=1e-4, atol=1e-8)


def test_all_floats_reach_the_kernel_in_the_dtype_of_the_image(monkeypatch):
    """Compiled, a variable has one type; in the interpreter mixed ones would pass unseen."""
    scene, views, mm = seen()
    views = replace(views, images=views.images.double())
    image, normals = (torch.zeros(1, SIZE, SIZE, k, device=DEVICE) for k in (4, 3))
    photo = Photographed(views.images, normals, scene.raster.triangle, views.T_cam_world, 0.1)
    planes = outline_of(scene.points, scene.model.faces, scene.raster.triangle)[1]
    line = Outlined(outline_band(planes, 3), edges_of_views(views)[0].valid, mm, 3)
    asked = [(Weighted(name, "abs", 1.0), x) for name, x in (("light", photo), ("edge", line))]
    given: list[torch.Tensor] = []

    class Kernel:
        def __getitem__(self, grid):
            return lambda *args, **_: given.extend(x for x in args if torch.is_tensor(x))

    monkeypatch.setattr(pixel_kernels, "seen_energies", Kernel())
    seen_group(image, views.masks, *asked).launch(image, image.new_zeros(2, 2, 1))
    floats = [x for x in given if x.is_floating_point()]
    assert len(floats) == 9  # 6 read, 3 written
    assert {x.dtype for x in floats} == {torch.float32}
    assert views.masks.dtype == mm.dtype == torch.float64


@pytest.mark.parametrize(
    ("size", "radius"), [(40, 3), (100, 40), (70, 1), (70, 31), (70, 32), (130, 64)]
)
def test_the_band_is_what_is_near_the_outline_and_far_from_open_ends(size, radius, generator):
    """Rows that end within a word, and a radius of more than a word."""
    marks = torch.rand(2, 2, size, size, generator=generator) < 2.0 / size**2
    marks[0, 0, 7, 31:33] = True  # across two words
    bits = torch.nn.functional.pad(marks, (0, -size % 32)).unflatten(-1, (-1, 32)).long()
    planes = (bits << torch.arange(32)).sum(-1).int()
    reach = 2 * radius + 1
    near = torch.nn.functional.max_pool2d(
        marks.flatten(0, 1).float(), reach, stride=1, padding=radius
    )
    outer, ends = (near > 0).unflatten(0, (2, 2))
    band = outline_band(planes.to(DEVICE), radius).cpu()
    found = band[..., None].long() >> torch.arange(32) & 1
    assert torch.equal(found.flatten(-2)[..., :size] > 0, outer & ~ends)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_band_of_another_radius_compiles_nothing(monkeypatch):
    """Not even of a window whose band is wider than any before; Triton tells multiples of 16 and 1 from others."""
    from triton import knobs

    compiled: list[str] = []
    hook = lambda **told: compiled.append(told["fn"].name)  # noqa: E731
    planes = torch.zeros(2, 1, 70, 3, dtype=torch.int32, device=DEVICE)
    outline_band(planes, 17)
    monkeypatch.setattr(knobs.runtime, "jit_post_compile_hook", hook)
    outline_band(planes, 26)
    outline_band(planes, 77)
    assert not compiled
