"""Correspondences between triangulations of one analytic surface, whose partners are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.geometry.rotation import rotation_exp
from hrnfit.transfer.correspondence import find_correspondence
from hrnfit.transfer.distances import coverage
from tests.transfer.faces import COARSE, DENSE, face, without


@pytest.fixture(scope="module")
def faces():
    return face(DENSE), face(COARSE)


def inner(mesh) -> torch.Tensor:
    """Vertices away from the border and the holes, where every vertex must have a partner."""
    x, y, _ = mesh.vertices.unbind(1)
    return (x.abs() < 60) & (y.abs() < 85) & ((y - 35).abs() > 14) & ((y + 35).abs() > 16)


def test_partners_of_another_triangulation_lie_where_they_should(faces):
    target, source = faces
    found = find_correspondence(target, source)
    assert float(found.scale) == pytest.approx(1.0, abs=0.01)
    assert bool(found.valid[inner(target)].all())
    off = (found.on(source.vertices, source.faces) - target.vertices).norm(dim=1)[inner(target)]
    # the landmarks are vertices: in the two meshes they lie up to half an edge (3 mm) apart
    assert float(off.median()) < 0.6
    assert float(off.max()) < 2.5


def test_a_turned_and_larger_target_finds_the_same_partners(faces):
    target, source = faces
    plain = find_correspondence(target, source)
    R = rotation_exp(torch.tensor([0.3, -0.8, 0.2]))
    moved = replace(target, vertices=1.2 * target.vertices @ R.mT + torch.tensor([50.0, -900, 3]))
    found = find_correspondence(moved, source)
    assert float(found.scale) == pytest.approx(float(plain.scale) / 1.2, rel=1e-3)
    places = [c.on(source.vertices, source.faces) for c in (plain, found)]
    both = plain.valid & found.valid
    assert float((plain.valid != found.valid).float().mean()) < 0.01
    assert float((places[0] - places[1]).norm(dim=1)[both].quantile(0.99)) < 0.2


def test_a_bent_target_is_straightened(faces):
    target, source = faces
    x, y, _ = target.vertices.unbind(1)
    bend = torch.stack([4 * torch.sin(y / 40), 5 * torch.cos(x / 50), 6 * torch.sin(x / 45)], 1)
    found = find_correspondence(replace(target, vertices=target.vertices + bend), source)
    off = (found.on(source.vertices, source.faces) - target.vertices).norm(dim=1)
    assert float(off[inner(target)].median()) < 2.0
    assert float(found.valid[inner(target)].float().mean()) > 0.97


def test_what_the_source_lacks_has_no_partner_and_is_filled_in(faces):
    target, source = faces
    part = without(source, source.vertices[:, 1] > 55.0)
    found = find_correspondence(target, part)
    y = target.vertices[:, 1]
    assert not bool(found.valid[y > 65.0].any())
    assert bool(found.valid[inner(target) & (y < 45.0)].all())
    share = coverage(found, target, part).uncovered
    area = float((y > 55.0).float().mean())
    assert area - 0.05 < share < area + 0.12
    # the two are one surface: the filled part lies where the whole one has it
    off = (found.registered - target.vertices).norm(dim=1)[y > 65.0]
    assert float(off.median()) < 2.0
    assert float(off.max()) < 8.0


def test_a_partial_target_covers_part_of_the_source(faces):
    target, source = faces
    part = without(target, target.vertices[:, 1] < -60.0)
    found = find_correspondence(part, source)
    common = coverage(found, part, source)
    assert common.uncovered < 0.1
    kept = source.vertices[source.faces.long()].mean(1)[:, 1]
    assert not bool(common.source[kept < -70.0].any())
    assert float(common.source[(kept > -40.0) & (kept < 80.0)].float().mean()) > 0.8


def test_too_few_landmarks_say_how_many_and_what_to_give(faces):
    target, source = faces
    marks = target.landmarks["ibug68"]
    few = torch.where(torch.arange(68) < 4, marks.triangles, -1)
    bare = replace(target, landmarks={"ibug68": replace(marks, triangles=few)})
    with pytest.raises(ValueError, match=r"share 4 points, and at least 6.*--landmarks"):
        find_correspondence(bare, source)


def test_shuffled_landmarks_are_not_those_of_a_face(faces):
    target, source = faces
    marks = target.landmarks["ibug68"]
    order = torch.randperm(68, generator=torch.Generator().manual_seed(0))
    wrong = replace(marks, triangles=marks.triangles[order], barycentric=marks.barycentric[order])
    with pytest.raises(ValueError, match=r"iBUG order"):
        find_correspondence(replace(target, landmarks={"ibug68": wrong}), source)


def test_a_mesh_inside_out_is_told(faces):
    target, source = faces
    marks = target.landmarks["ibug68"]
    turned = replace(
        target,
        faces=target.faces[:, [0, 2, 1]],
        landmarks={"ibug68": replace(marks, barycentric=marks.barycentric[:, [0, 2, 1]])},
    )
    with pytest.raises(ValueError, match="clockwise"):
        find_correspondence(turned, source)
