"""Meshes torn open along edges, and the charts that this makes possible."""

from __future__ import annotations

import pytest
import torch
import trimesh
from torch import Tensor

from hrnfit.geometry.seams import back_seam, component_of, open_chart, tear
from hrnfit.geometry.uv import chart_quality, disk_chart, overlaps
from tests.model.faces import compact, sheet


def ball(neck: bool) -> tuple[Tensor, Tensor]:
    """A head-sized ball, longer than wide, with an opening below if it has a neck."""
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=100.0)
    points = torch.tensor(mesh.vertices).float() * torch.tensor([0.8, 1.2, 1.0])
    faces = torch.tensor(mesh.faces)
    if neck:
        faces = faces[(points[faces][:, :, 1] > -95.0).all(dim=1)]
    return compact(points, faces)


def test_two_triangles_that_touch_at_a_vertex_are_parted():
    faces = torch.tensor([[0, 1, 2], [2, 3, 4]])
    torn = tear(faces, 5)
    assert torn.faces.tolist() == [[0, 1, 2], [5, 3, 4]]
    assert torn.origin.tolist() == [0, 1, 2, 3, 4, 2]


def test_a_seam_inside_doubles_its_middle_only():
    # a fan of four triangles around vertex 4, cut from corner 0 over the middle to corner 2
    faces = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    torn = tear(faces, 5, torch.tensor([0, 4, 2]))
    assert len(torn.origin) == 8  # both halves own 0, 4 and 2: the seam ends on the rim
    assert torn.origin[torn.faces].tolist() == faces.tolist()
    assert not set(torn.faces[:2].flatten().tolist()) & set(torn.faces[2:].flatten().tolist())
    half = tear(faces, 5, torch.tensor([0, 4]))
    assert sorted(half.origin[5:].tolist()) == [0]  # its end, here the middle, stays one


def test_a_sound_surface_is_left_alone():
    points, faces = sheet()
    torn = tear(faces, len(points))
    assert torch.equal(torn.faces, faces)
    assert torch.equal(torn.origin, torch.arange(len(points)))
    uv, uv_faces = open_chart(points, faces)
    assert torch.equal(uv, disk_chart(points, faces))
    assert uv_faces is faces


@pytest.mark.parametrize("neck", [True, False])
def test_a_head_gets_a_chart(neck):
    points, faces = ball(neck)
    seam = back_seam(points, faces)
    assert seam is not None
    assert points[seam[-1], 1] == points[:, 1].max()
    assert points[seam[1:-1], 2].max() < 5.0  # over the back, not over the face
    assert points[seam, 0].abs().max() < 15.0
    uv, uv_faces = open_chart(points, faces)
    quality = chart_quality(points, faces, uv, uv_faces)
    assert quality.flipped == 0
    assert overlaps(uv, uv_faces, 256) == 0
    assert len(uv) > len(points)
    flat = torch.zeros(len(points), 2)
    flat[faces.long().flatten()] = uv[uv_faces.long().flatten()]
    front = points[:, 2] > 80.0
    # +x to the right, +y to the top, as in every chart of ours
    assert torch.corrcoef(torch.stack([points[front, 0], flat[front, 0]]))[0, 1] > 0.95
    assert torch.corrcoef(torch.stack([points[front, 1], -flat[front, 1]]))[0, 1] > 0.95


def test_the_cut_spreads_the_texels_evenly():
    points, faces = ball(neck=True)
    near = (points[faces.long()].mean(dim=1) - torch.tensor([0.0, 0.0, 100.0])).norm(dim=1) < 70.0
    spread, anisotropy = [], []
    for chart in (open_chart(points, faces), (disk_chart(points, faces), faces)):
        quality = chart_quality(points, faces, *chart)
        low, high = quality.area_ratio[near].quantile(torch.tensor([0.05, 0.95]).double())
        spread.append(float(high / low))
        anisotropy.append(float(quality.anisotropy[near].quantile(0.95)))
    assert spread[0] < 1.2 < 3.0 < spread[1]
    assert anisotropy[0] < 2.8 < 3.2 < anisotropy[1]


def test_component_of_a_vertex():
    faces = torch.tensor([[0, 1, 2], [3, 4, 5], [2, 1, 6]])
    assert component_of(faces, 7, 6).tolist() == [0, 2]
    assert component_of(faces, 7, 4).tolist() == [1]
