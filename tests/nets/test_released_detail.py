"""Detail normals of the released code against loops, and our displacement that tilts alike."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from hrnfit.geometry.mesh import face_normals
from hrnfit.nets.released_detail import detail_normals, displacement_sign, equal_normals
from hrnfit.render import detail
from hrnfit.render.texture import uv_interpolate, uv_raster
from tests.nets import released_reference as reference
from tests.nets.released_scenes import released, sheet

CHARTS = {
    "u along +x": ((1.0, 0.0), (0.0, -1.0), -1.0),
    "u along -x": ((-1.0, 0.0), (0.0, -1.0), 1.0),
    "u along +y": ((0.0, -1.0), (-1.0, 0.0), -1.0),
    "u and v exchanged": ((0.0, 1.0), (-1.0, 0.0), 1.0),
    "upside down": ((-1.0, 0.0), (0.0, 1.0), -1.0),
}
"""Where x and y point in the chart, as (x, y) = rows times (u, v) about the middle; the right sign."""


def curved_face(chart: str, across: float = 1.2, radius: float = 2.0):
    """Chart, outward triangles and vertices, dm, of a patch of a sphere that faces the viewer."""
    (xu, xv), (yu, yv), _ = CHARTS[chart]
    uv, faces = sheet(50, 50)
    u, v = (uv - 0.5).unbind(-1)
    x, y = across * (xu * u + xv * v), across * (yu * u + yv * v)
    vertices = torch.stack([x, y, (radius**2 - x**2 - y**2).sqrt()], -1)
    if bool((face_normals(vertices, faces)[:, 2] < 0).any()):
        faces = faces.flip(1)
    return uv, faces, vertices


@pytest.mark.parametrize("chart", CHARTS)
def test_our_displacement_tilts_as_theirs(chart):
    """A bump on a curved face (17 degrees at the rim): tilts along the skin have the same direction."""
    uv, faces, posed = curved_face(chart)
    maps = released(uv, faces, 64)
    at = maps.position_map(posed)
    bump = 0.02 * torch.exp(-((at[0] - 0.1) ** 2 + (at[1] + 0.05) ** 2) / 0.03)[None]
    ours = maps.displacement(bump, posed)
    assert maps.sign == CHARTS[chart][2]
    one_sign = 100.0 * CHARTS[chart][2] * bump[0]
    assert float((ours - one_sign).abs().max()) < 0.1 * float(one_sign.abs().max())

    raster = uv_raster(uv, faces, faces, 64, 64)
    normals = uv_interpolate(equal_normals(posed, faces), raster)
    shaded = maps.detail_normals(bump, posed).permute(1, 2, 0)
    mine, theirs = (
        tilted - (tilted * normals).sum(-1, keepdim=True) * normals
        for tilted in (
            detail.detail_normals(100.0 * uv_interpolate(posed, raster), normals, ours),
            shaded,
        )
    )
    steep = mine.norm(dim=-1) > 0.02
    assert int(steep.sum()) > 300
    cosine = torch.nn.functional.cosine_similarity(mine, theirs, dim=-1)[steep]
    assert float(cosine.min()) > 0.99
    ratio = (theirs.norm(dim=-1) / mine.norm(dim=-1))[steep]
    assert float((ratio - 1.0).abs().max()) < 0.1


@pytest.mark.parametrize("degrees", [0.0, 30.0, 60.0])
def test_on_skin_at_an_angle_a_tilt_shrinks_by_cos_2t_and_leans_by_sin_2t(degrees):
    """A plane turned about y: a slope of 0.01 along it, and one across it, which stays whole."""
    turn = math.radians(degrees)
    along = torch.tensor([math.cos(turn), 0.0, -math.sin(turn)], dtype=torch.float64)
    across = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    normal = torch.tensor([math.sin(turn), 0.0, math.cos(turn)], dtype=torch.float64)
    row, column = torch.meshgrid(
        0.1 * torch.arange(20.0, dtype=torch.float64),
        0.1 * torch.arange(20.0, dtype=torch.float64),
        indexing="ij",
    )
    points = column[..., None] * along - row[..., None] * across
    normals = normal.expand_as(points)
    inside = (10, 10)
    # Rising by 0.01 per unit, theirs; ours of the other sign tilts by +0.01 in that direction.
    tilt = (detail_normals(points, normals, 0.01 * column) - normals)[inside]
    want = [0.01 * math.cos(2 * turn), 0.0, 0.01 * math.sin(2 * turn)]
    assert [float(tilt @ axis) for axis in (along, across, normal)] == pytest.approx(want, abs=2e-4)
    tilt = (detail_normals(points, normals, -0.01 * row) - normals)[inside]
    assert [float(tilt @ axis) for axis in (along, across)] == pytest.approx([0, 0.01], abs=2e-4)


def test_detail_normals_against_loops(generator):
    """Noise on a curved face, borders and texels outside the chart included."""
    uv, faces = sheet(8, 8, margin=0.1)
    x, y = 1.4 * (uv[:, 0] - 0.5), -1.6 * (uv[:, 1] - 0.5)
    posed = torch.stack([x, y, 0.6 - 0.5 * x**2 - 0.2 * y**3], -1)
    size = 18
    displacement = 0.02 * torch.randn(1, size, size, generator=generator, dtype=torch.float64)
    up = torch.stack([uv[:, 0], 1.0 - uv[:, 1]], -1).tolist()
    normals = reference.vertex_normals(posed.tolist(), faces.tolist())
    none = (0.0, 0.0, 0.0)
    points, directions = (
        reference.raster(values, up, faces.tolist(), size, none)
        for values in (posed.tolist(), normals)
    )
    want = reference.detail_normals(points, directions, displacement[0].tolist())
    got = released(uv, faces, size).detail_normals(displacement, posed).permute(1, 2, 0)
    assert torch.allclose(got, torch.tensor(want, dtype=torch.float64), atol=1e-10)
    single = released(uv.float(), faces, size).detail_normals(displacement.float(), posed.float())
    assert torch.allclose(single.permute(1, 2, 0).double(), got, atol=1e-4)


def test_without_displacement_normals_stay_and_borders_always_do(generator):
    uv, faces = sheet(6, 6)
    posed = torch.cat([uv, 0.1 * torch.rand(36, 1, generator=generator, dtype=torch.float64)], 1)
    maps = released(uv, faces, 20)
    still = maps.detail_normals(torch.zeros(1, 20, 20, dtype=torch.float64), posed)
    moved = maps.detail_normals(
        0.1 * torch.rand(1, 20, 20, generator=generator, dtype=torch.float64), posed
    )
    assert torch.allclose(
        still,
        uv_interpolate(equal_normals(posed, faces), uv_raster(uv, faces, faces, 20, 20)).permute(
            2, 0, 1
        ),
    )
    changed = ((moved - still).abs() > 1e-9).any(0)
    rows, columns = (torch.nonzero(changed.any(axis)).flatten() for axis in (1, 0))
    assert (int(rows[0]), int(rows[-1])) == (5, 14)
    assert (int(columns[0]), int(columns[-1])) == (2, 17)


def test_equal_normals_by_hand():
    """Three faces of a cube's corner, one split in two: the split one counts twice, whatever its area."""
    corner = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
    faces = torch.tensor([[0, 1, 4], [0, 4, 2], [0, 2, 3], [0, 3, 1]])
    got = equal_normals(torch.tensor(corner, dtype=torch.float64), faces)[0]
    want = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64) / math.sqrt(6.0)
    assert torch.allclose(got, want)


def test_displacement_is_zero_outside_the_chart():
    uv, faces = sheet(5, 5, margin=0.2)
    maps = released(uv, faces, 20)
    posed = torch.cat([uv, torch.ones(25, 1, dtype=torch.float64)], 1)
    ours = maps.displacement(torch.full((1, 20, 20), 0.002, dtype=torch.float64), posed)
    assert torch.equal(ours != 0, maps.mask)
    assert float(ours.abs().max()) == pytest.approx(0.2)


def test_a_chart_that_is_half_mirrored_is_refused():
    """Two halves folded onto each other have no one sign; a small fold has."""
    uv, faces = sheet(5, 5)
    folded = torch.stack([(uv[:, 0] - 0.5).abs(), uv[:, 1]], -1)
    with pytest.raises(ValueError, match=r"50 % of the chart's area is mirrored .*without folds"):
        displacement_sign(faces, folded)
    with pytest.raises(ValueError, match="mirrored"):
        displacement_sign(faces, torch.zeros_like(uv))
    swapped = faces.clone()
    swapped[0] = faces[0].flip(0)  # 1 of 32 triangles
    assert displacement_sign(swapped, uv) == displacement_sign(faces, uv) == -1.0


def test_detail_normals_are_differentiable(generator):
    rows = torch.rand(14, 8, 3, generator=generator, dtype=torch.float64)
    points = rows + 3.0 * torch.arange(14.0 * 8).reshape(14, 8, 1)
    normals = torch.rand(14, 8, 3, generator=generator, dtype=torch.float64)
    displacement = torch.rand(14, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda d: detail_normals(points, normals, d), displacement)
