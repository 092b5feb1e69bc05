"""The chart: a bijection onto part of the unit square, upright and symmetric."""

from __future__ import annotations

import math

import pytest
import torch

from hrnfit.geometry.uv import boundary_loops, chart_quality, disk_chart, overlaps
from tests.model.faces import sheet

SQUARE = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
TWO = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)


def test_boundary_of_a_square_and_of_a_face_with_holes():
    (loop,) = boundary_loops(TWO, 4)
    assert sorted(loop.tolist()) == [0, 1, 2, 3]
    points, faces = sheet()
    loops = boundary_loops(faces, len(points))
    assert len(loops) == 4
    assert len(loops[0]) == 2 * (29 + 33) - 4


def test_face_chart_has_no_flip_and_no_overlap():
    points, faces = sheet()
    uv = disk_chart(points, faces)
    quality = chart_quality(points, faces, uv, faces)
    assert quality.flipped == 0
    assert overlaps(uv, faces, 256) == 0
    assert uv.min() >= 0.0
    assert uv.max() <= 1.0
    assert quality.used > 0.75


def test_chart_is_upright_and_symmetric():
    points, faces = sheet()
    uv = disk_chart(points, faces)
    far_left = (points[:, 0] - points[:, 1].abs()).argmax()
    top = (points[:, 1] - 3 * points[:, 0].abs()).argmax()
    assert uv[far_left, 0] > 0.9  # +x of the head toward larger u
    assert uv[top, 1] < 0.05  # forehead at the top
    mirrored = torch.cdist(points * torch.tensor([-1.0, 1.0, 1.0]), points).argmin(dim=1)
    assert (uv[mirrored, 0] + uv[:, 0] - 1.0).abs().max() < 1e-4
    assert (uv[mirrored, 1] - uv[:, 1]).abs().max() < 1e-4


def test_stretch_steps_even_out_the_area():
    points, faces = sheet()
    spread = []
    for steps in (0, 6):
        uv = disk_chart(points, faces, steps=steps)
        ratio = chart_quality(points, faces, uv, faces).area_ratio
        spread.append(float(ratio.std()))
    assert spread[1] < 0.8 * spread[0]


def test_density_gives_its_place_more_texels():
    points, faces = sheet()
    near = (points - torch.tensor([0.0, 0.0, 80.0])).norm(dim=1) < 60.0
    inside = near[faces.long()].all(dim=1)
    shares = []
    for density in (None, torch.where(near, 1.0, 0.5)):
        uv = disk_chart(points, faces, density)
        shares.append(float(chart_quality(points, faces, uv, faces).area_ratio[inside].median()))
    assert shares[1] > 1.1 * shares[0]


def test_quality_of_known_maps():
    uv = SQUARE[:, :2] * torch.tensor([0.5, 0.25])
    quality = chart_quality(SQUARE, TWO, uv, TWO)
    assert quality.used == pytest.approx(0.125)
    assert torch.allclose(quality.area_ratio, torch.ones(2, dtype=torch.float64))
    assert torch.allclose(quality.anisotropy, torch.full((2,), 2.0, dtype=torch.float64))
    assert overlaps(uv, TWO, 64) == 0


def test_flip_and_overlap_are_seen():
    folded = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.9, 0.1]])
    quality = chart_quality(SQUARE, TWO, folded, TWO)
    assert quality.flipped >= 1
    assert overlaps(folded, TWO, 64) > 50


def test_errors_say_what_is_wrong():
    tetrahedron = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], dtype=torch.int32)
    with pytest.raises(ValueError, match="closed surface"):
        disk_chart(SQUARE, tetrahedron)
    lonely = torch.cat([SQUARE, torch.ones(1, 3)])
    with pytest.raises(ValueError, match="1 vertices belong to no triangle"):
        disk_chart(lonely, TWO)
    with pytest.raises(ValueError, match="opposite winding"):
        boundary_loops(torch.tensor([[0, 1, 2], [0, 1, 3]], dtype=torch.int32), 4)
    apart = torch.cat([SQUARE, SQUARE + 5.0])
    with pytest.raises(ValueError, match="one connected surface"):
        disk_chart(apart, torch.cat([TWO, TWO + 4]))


def test_a_flat_disk_stays_nearly_conformal():
    angle = torch.arange(24) * (2.0 * math.pi / 24)
    rings = [torch.zeros(1, 3)]
    for radius in (1.0, 2.0, 3.0):
        ring = torch.stack([radius * angle.cos(), radius * angle.sin(), 0 * angle], dim=1)
        rings.append(ring)
    points = torch.cat(rings)
    triangles = [(0, 1 + k, 1 + (k + 1) % 24) for k in range(24)]
    for ring in (0, 1):
        inner, outer = 1 + 24 * ring, 25 + 24 * ring
        for k in range(24):
            n = (k + 1) % 24
            triangles += [(inner + k, outer + k, outer + n), (inner + k, outer + n, inner + n)]
    faces = torch.tensor(triangles, dtype=torch.int32)
    quality = chart_quality(points, faces, disk_chart(points, faces), faces)
    assert quality.flipped == 0
    assert quality.anisotropy.median() < 1.35
