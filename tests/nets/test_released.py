"""The released maps against a texel-by-texel reference, by hand, and against our own conventions."""

from __future__ import annotations

import inspect

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, minimum_filter, uniform_filter
from torch.autograd import gradcheck

from hrnfit.importers import deep3d
from hrnfit.infer.convention import MapConvention
from hrnfit.nets import released as module
from hrnfit.nets.released import Released
from hrnfit.nets.released_sampling import look_up_deformation, look_up_picture, smoothed_mask
from tests.nets import released_reference as reference
from tests.nets.released_scenes import jittered, operator, released, sheet

S = 24


@pytest.fixture
def head(generator):
    """A curved sheet in front of the camera, its chart jittered, with a margin outside the chart."""
    uv, faces = sheet(6, 5, margin=0.12)
    uv = jittered(uv, 0.08, generator)
    x, y = 1.5 * (uv[:, 0] - 0.5), -1.9 * (uv[:, 1] - 0.5)
    posed = torch.stack([x + 0.1, y - 0.05, 0.8 - 0.5 * x**2 - 0.3 * y**2], -1)
    return released(uv, faces, S), posed


def up(uv: torch.Tensor) -> list:
    return torch.stack([uv[:, 0], 1.0 - uv[:, 1]], -1).tolist()


def test_position_map_row_by_row(head):
    maps, posed = head
    want = reference.raster(
        posed.tolist(), up(maps.uv), maps.faces.tolist(), S, outside=(0.0, 0.0, 0.0)
    )
    got = maps.position_map(posed).permute(1, 2, 0)
    assert torch.allclose(got, torch.tensor(want, dtype=torch.float64), atol=1e-12)
    assert maps.mask.any()
    assert not maps.mask.all()
    # Row 0 is the chart's top, where y is largest.
    y = got[..., 1].masked_fill(~maps.mask, torch.nan)
    assert float(y[S // 4, S // 2]) > float(y[3 * S // 4, S // 2]) + 0.5


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_texture_against_the_reference(head, generator, dtype, close):
    """Smooth enough that rounding at a jump between two rows of pixels moves nothing visibly."""
    maps, posed = head
    coarse = torch.rand(1, 3, 6, 6, generator=generator, dtype=torch.float64)
    image = torch.nn.functional.interpolate(coarse, (512, 512), mode="bicubic")[0]
    want = reference.texture(
        image.permute(1, 2, 0).tolist(), posed.tolist(), up(maps.uv), maps.faces.tolist(), S
    )
    got = maps.texture(image.to(dtype), posed.to(dtype)).permute(1, 2, 0)
    assert got.dtype == dtype
    assert torch.allclose(got.double(), torch.tensor(want, dtype=torch.float64), atol=close)


def test_face_mask_against_the_reference_on_a_small_noisy_crop(head, generator):
    """8 px for 224: vertices far outside the crop take its border pixels."""
    maps, posed = head
    mask = torch.rand(8, 8, generator=generator, dtype=torch.float64)
    wide = posed * torch.tensor([1.8, 1.8, 1.0])
    want = reference.texture(
        mask[..., None].tolist(), wide.tolist(), up(maps.uv), maps.faces.tolist(), S
    )
    got = maps.face_mask(mask, wide)
    assert torch.allclose(got, torch.tensor(want, dtype=torch.float64)[..., 0], atol=1e-10)


def test_rows_are_exchanged_by_hand():
    """A picture whose value is its row: 3.25 lies a quarter below row 3 and reads 3.75; 3 reads 4."""
    rows = torch.arange(6.0, dtype=torch.float64)[None, :, None].expand(1, 6, 5)
    places = torch.tensor([[2.0, 3.25], [2.5, 3.0], [1.0, 3.75]], dtype=torch.float64)
    assert look_up_picture(rows, places)[0].tolist() == [3.75, 4.0, 3.25]
    columns = torch.arange(5.0, dtype=torch.float64)[None, None].expand(1, 6, 5)
    assert look_up_picture(columns, places)[0].tolist() == [2.0, 2.5, 1.0]


def test_places_outside_the_picture_take_its_border():
    picture = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=torch.float64)
    places = torch.tensor([[-9.5, -7.3], [9.0, -3.0], [-4.2, 8.6], [7.7, 9.9]], dtype=torch.float64)
    assert torch.allclose(
        look_up_picture(picture, places)[0], torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    )


def test_texels_outside_the_chart_take_the_bottom_left_pixel(head):
    maps, posed = head
    image = torch.zeros(3, 32, 32, dtype=torch.float64)
    image[:, -1, 0] = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)
    texture = maps.texture(image, posed)
    outside = texture[:, ~maps.mask]
    assert torch.equal(outside, image[:, -1, :1].expand_as(outside))
    assert float(texture[:, maps.mask].abs().max()) == 0.0


def test_smoothed_mask_is_erosion_then_box_blur(generator):
    mask = torch.rand(30, 26, generator=generator)
    want = uniform_filter(minimum_filter(mask.numpy(), 3, mode="nearest"), 11, mode="mirror")
    assert np.allclose(smoothed_mask(mask).numpy(), want, atol=1e-6)
    painted = cv2.blur(cv2.erode(mask.numpy(), np.ones((3, 3), np.float32)), (11, 11))
    assert np.allclose(smoothed_mask(mask).numpy(), painted, atol=1e-6)


def test_valid_mask_is_the_smoothed_face_mask(head, generator):
    maps, posed = head
    mask = torch.rand(16, 16, generator=generator, dtype=torch.float64)
    assert torch.equal(maps.valid_mask(mask, posed), smoothed_mask(maps.face_mask(mask, posed)))


def test_vertex_offsets_against_the_reference(generator):
    uv, faces = sheet(7, 6)  # reaches 0 and 1, where indices are held inside the map
    maps = released(uv, faces, 8)
    deformation = torch.rand(3, 9, 9, generator=generator, dtype=torch.float64)
    rows = deformation.permute(1, 2, 0).tolist()
    want = [reference.offset(rows, u, v) for u, v in up(uv)]
    assert torch.allclose(maps.vertex_offsets(deformation), torch.tensor(want).double(), atol=1e-7)


def test_half_a_texel_by_hand():
    """At u = 1/2 of 64 texels they read texel 32; its centre lies at 32.5 / 64, so we read 31.5."""
    columns = torch.arange(64.0, dtype=torch.float64)[None, None].expand(3, 64, 64)
    places = torch.tensor([[0.5, 0.3], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert look_up_deformation(columns, places)[:, 0].tolist() == [32.0, 63.0, 0.0]
    assert look_up_deformation(columns.mT, places)[:, 0].tolist() == [
        pytest.approx(19.2),
        0.0,
        63.0,
    ]
    ours = operator(places, torch.tensor([[0, 1, 2]]), 64)
    assert float(ours(columns.permute(1, 2, 0))[0, 0]) == 31.5


def test_vertex_offsets_are_our_sampling_half_a_texel_further(generator):
    uv, faces = sheet(9, 8, margin=0.02)
    uv = jittered(uv, 0.03, generator)
    deformation = torch.rand(3, 16, 16, generator=generator, dtype=torch.float64)
    ours = operator(uv + 0.5 / 16, faces, 16)(deformation.permute(1, 2, 0))
    assert torch.allclose(released(uv, faces, 8).vertex_offsets(deformation), ours, atol=1e-12)


def test_deformation_of_a_ramp_is_the_ramp_half_a_texel_on():
    """Interpolation of a ramp is exact, so the map of ours is: mm, and half a texel further."""
    uv, faces = sheet(60, 60, margin=0.02)
    sampling = operator(uv, faces, 16)
    maps = released(uv, faces, 8, sampling.fit_map)
    columns = 0.01 * torch.arange(16.0, dtype=torch.float64)[None, None].expand(3, 16, 16)
    got = maps.deformation(columns)
    assert got.shape == (16, 16, 3)
    want = torch.arange(16.0, dtype=torch.float64) + 0.5
    # Both ramps end within the outer texels, at other places: the rest decays by 3.7 per texel.
    assert torch.allclose(got[:, 4:11, 0], want[4:11].expand(16, 7), atol=1e-3)


def rough_maps(texels: float, size: int = 32) -> torch.Tensor:
    """Random maps with an rms of 1 mm per component, smooth over some texels; decimetres."""
    noise = np.random.default_rng(0).standard_normal((3, size, size))
    if texels:
        noise = np.stack([gaussian_filter(c, texels) for c in noise])
    return torch.from_numpy(noise / noise.std()) / 100.0


@pytest.mark.parametrize(("texels", "mm"), [(6.0, 0.01), (3.0, 0.03), (1.5, 0.1), (0.0, 0.75)])
def test_deformation_moves_vertices_better_than_copies_do(generator, texels, mm):
    uv, faces = sheet(95, 95, margin=0.03)  # 9 vertices per texel, as bfm_uvs2.npy at 64 texels
    uv = jittered(uv, 0.005, generator)
    sampling = operator(uv, faces, 32)
    maps = released(uv, faces, 8, sampling.fit_map)
    deformation = rough_maps(texels)
    want = 100.0 * maps.vertex_offsets(deformation)

    def rms(mine: torch.Tensor) -> float:
        return float((sampling(mine) - want).square().sum(-1).mean().sqrt())

    copied = 100.0 * deformation.permute(1, 2, 0)
    next_ones = torch.nn.functional.pad(copied.permute(2, 0, 1)[None], (0, 1, 0, 1), "replicate")
    halfway = torch.nn.functional.avg_pool2d(next_ones, 2, stride=1)[0].permute(1, 2, 0)
    fitted = rms(maps.deformation(deformation))
    assert fitted < mm
    assert fitted < 0.9 * rms(halfway) < rms(copied)


def test_our_map_as_theirs_and_back(generator):
    """Ours taken half a texel back is theirs: the same offsets, and the same map again."""
    uv, faces = sheet(95, 95, margin=0.0)
    sampling = operator(uv, faces, 32)
    maps = released(uv, faces, 8, sampling.fit_map)
    ours = 100.0 * rough_maps(6.0).permute(1, 2, 0)
    before = torch.nn.functional.pad(ours.permute(2, 0, 1)[None], (1, 0, 1, 0), "replicate")
    theirs = torch.nn.functional.avg_pool2d(before, 2, stride=1)[0] / 100.0
    inner = ((uv > 0.05) & (uv < 0.95)).all(-1)
    offsets = 100.0 * maps.vertex_offsets(theirs)
    assert float((offsets - sampling(ours))[inner].norm(dim=-1).max()) < 0.06
    again = maps.deformation(theirs)
    assert float((again - ours)[2:-2, 2:-2].abs().max()) < 0.06


def test_it_offers_what_the_convention_asks():
    for name, asked in inspect.getmembers(MapConvention, inspect.isfunction):
        if name.startswith("_"):
            continue
        given = inspect.signature(getattr(Released, name)).parameters
        assert list(given) == list(inspect.signature(asked).parameters), name


def test_the_camera_is_the_analyzer_s():
    ours = (module.MM_PER_UNIT, module.FOCAL, module.CENTRE, module.SIZE, module.DISTANCE)
    theirs = (
        *(deep3d.MM_PER_UNIT, deep3d.FOCAL, deep3d.SIZE / 2),
        *(deep3d.SIZE, deep3d.DISTANCE),
    )
    assert ours == theirs


def test_the_same_again(head, generator):
    maps, posed = head
    image = torch.rand(3, 64, 64, generator=generator, dtype=torch.float64)
    assert torch.equal(maps.texture(image, posed), maps.texture(image, posed))
    assert torch.equal(maps.position_map(posed), maps.position_map(posed))


def test_look_ups_are_differentiable(generator):
    picture = torch.rand(2, 5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    places = 5 * torch.rand(4, 2, generator=generator, dtype=torch.float64)
    assert gradcheck(lambda p: look_up_picture(p, places), picture)
    assert gradcheck(lambda p: look_up_deformation(p, places / 5), picture)


def test_a_seam_is_refused():
    uv, faces = sheet(3, 3)
    raster = released(uv, faces, 8)
    seam = faces.clone()
    seam[0, 0] = 8

    def of(uv: torch.Tensor, uv_faces: torch.Tensor) -> Released:
        fits = raster.fit_map, raster.fit_displacement
        return Released.of(raster.triangle, raster.barycentric, faces, uv, uv_faces, *fits)

    with pytest.raises(ValueError, match=r"1 of 8 triangles .* one place per vertex, as bfm_uvs2"):
        of(uv, seam)
    with pytest.raises(
        ValueError, match=r"uv_faces: expected the shape of faces \(8, 3\), got \(7, 3\)"
    ):
        of(uv, faces[:7])
    with pytest.raises(ValueError, match=r"uv: expected a place for each of 9 vertices, got 8"):
        of(uv[:8], faces)


def test_another_mesh_and_another_map_size_are_refused(head):
    maps, posed = head
    with pytest.raises(
        ValueError, match=r"vertices: expected \(30, C\), got \(29, 3\); pass the mesh"
    ):
        maps.position_map(posed[:29])
    uv, faces = sheet(5, 5)
    small = released(uv, faces, 8, operator(uv, faces, 4).fit_map)
    with pytest.raises(ValueError, match=r"expected \(6, 6, 3\), got \(4, 4, 3\); build .* size=6"):
        small.deformation(torch.zeros(3, 6, 6, dtype=torch.float64))
