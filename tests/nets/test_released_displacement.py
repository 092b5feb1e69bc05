"""Our displacement map of a released one, on skin at all angles: its shading against the released one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, gaussian_filter
from torch.nn.functional import normalize

from hrnfit.nets.released import Released
from hrnfit.nets.released_detail import equal_normals, tells_tilt
from hrnfit.render import detail
from hrnfit.render.texture import uv_interpolate, uv_raster
from tests.nets.released_scenes import ellipsoid, released, sheet

BANDS = ((0, 15), (15, 30), (30, 45), (45, 60), (60, 80))
"""Angles of the skin to the viewer, degrees."""


def creases(size: int, texels: float = 2.0, mm: float = 0.3) -> torch.Tensor:
    """Noise smooth over some texels, with a deviation in mm; decimetres."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((size, size)), texels)
    return torch.from_numpy(noise * mm / 100.0 / noise.std())[None]


def angles(maps: Released, posed: torch.Tensor, theirs: torch.Tensor, ours: list) -> list:
    """Per map of ours: rms angle in degrees to the released detail normals, in each band."""
    side = len(maps.mask)
    raster = uv_raster(maps.uv, maps.faces, maps.faces, side, side)
    normals = normalize(uv_interpolate(equal_normals(posed, maps.faces), raster), dim=-1)
    wanted = normalize(maps.detail_normals(theirs, posed).permute(1, 2, 0), dim=-1)
    inner = torch.from_numpy(binary_erosion(maps.mask.numpy(), iterations=6))
    turn = torch.rad2deg(normals[..., 2].clamp(-1, 1).acos())
    result = []
    for mine in ours:
        shaded = detail.detail_normals(
            100.0 * uv_interpolate(posed, raster), normals, mine, maps.mask
        )
        half = 0.5 * (shaded - wanted).norm(dim=-1)
        square = torch.rad2deg(2.0 * half.clamp_max(1.0).asin()).square()
        cells = [inner & (turn >= low) & (turn < high) for low, high in BANDS]
        result.append([float(square[cell].mean().sqrt()) for cell in cells])
    return result


@pytest.mark.parametrize("turn", [0.0, 0.5])
@pytest.mark.parametrize("mirrored", [False, True])
def test_it_shades_nearer_to_the_released_code_than_one_sign_on_all_skin(mirrored, turn):
    uv, faces, posed = ellipsoid(mirrored, turn)
    maps = released(uv, faces, 128)
    theirs = creases(128)
    one_sign = 100.0 * maps.sign * theirs[0] * maps.mask
    plain = torch.zeros_like(one_sign)
    found = maps.displacement(theirs, posed)
    none, signed, ours = angles(maps, posed, theirs, [plain, one_sign, found])
    assert min(none) > 3.0
    assert all(mine < 0.6 * other for mine, other in zip(ours, signed, strict=True))
    assert all(mine < 0.8 * other for mine, other in zip(ours, none, strict=True))


def flat_face(size: int, margin: float = 0.1):
    """A plane of 160 mm that faces the viewer, u along +x."""
    uv, faces = sheet(20, 20, margin)
    posed = torch.stack([1.6 * uv[:, 0], -1.6 * uv[:, 1], torch.zeros(len(uv)).double()], -1)
    return released(uv, faces, size), posed


def test_on_a_flat_face_it_is_one_sign():
    maps, posed = flat_face(96)
    theirs = creases(96, texels=3.0)
    want = 100.0 * maps.sign * theirs[0] * maps.mask
    got = maps.displacement(theirs, posed)
    assert maps.sign == -1.0
    assert float((got - want).norm() / want.norm()) < 0.05


@pytest.mark.parametrize("width", [4.0, 8.0, 16.0])
def test_a_bump_on_a_face_keeps_its_height_and_leaves_the_border_alone(width):
    """Standard deviations in mm; the map's border has the bump's own 1 % of them, not a ramp."""
    maps, posed = flat_face(128)
    at = 100.0 * maps.position_map(posed)
    square = (at[0] - 80.0) ** 2 + (at[1] + 80.0) ** 2
    bump = 0.02 * torch.exp(-0.5 * square / width**2)[None]
    got = -maps.displacement(bump, posed)
    assert float(got.max()) == pytest.approx(2.0, rel=0.1)
    far = maps.mask & (square > (3.5 * width) ** 2)
    assert int(far.sum()) > 400
    assert float(got[far].abs().max()) < 0.03


def test_a_constant_stays_up_to_the_border():
    """What no normal shows: texels at the border of the chart, whose shading is spoilt, included."""
    maps, posed = flat_face(64)
    got = maps.displacement(torch.full((1, 64, 64), 0.01, dtype=torch.float64), posed)
    assert torch.allclose(got, -1.0 * maps.mask.double(), atol=1e-6)


def test_no_map_gives_none_and_small_maps_add_up():
    uv, faces, posed = ellipsoid(mirrored=False)
    maps = released(uv, faces, 64)
    nothing = maps.displacement(torch.zeros(1, 64, 64, dtype=torch.float64), posed)
    assert float(nothing.abs().max()) < 1e-12
    one, two = creases(64, mm=1e-4), creases(64, texels=4.0, mm=1e-4)
    apart = maps.displacement(one, posed) + 2.0 * maps.displacement(two, posed)
    together = maps.displacement(one + 2.0 * two, posed)
    assert float((together - apart).norm() / apart.norm()) < 1e-3


def test_skin_that_is_turned_away_takes_one_sign():
    """The same face seen from behind says nothing."""
    maps, posed = flat_face(64)
    theirs = creases(64)
    behind = posed * torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)
    got = maps.displacement(theirs, behind)
    assert torch.equal(got, 100.0 * maps.sign * theirs[0] * maps.mask)


def test_texels_that_tell_a_tilt_by_hand():
    """A chart of rows 2 to 17 and columns 4 to 17 of 20: its border, the grid's and a turned texel go."""
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[2:18, 4:18] = True
    normals = torch.zeros(20, 20, 3)
    normals[mask] = torch.tensor([0.0, 0.0, 1.0])
    normals[10, 10] = torch.tensor([1.0, 0.0, 0.05])
    want = torch.zeros(20, 20, dtype=torch.bool)
    want[6:14, 5:17] = True
    want[10, 10] = False
    assert torch.equal(tells_tilt(mask, normals), want)
